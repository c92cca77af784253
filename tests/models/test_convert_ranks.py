"""A converted checkpoint gives the reference's logits on one rank, TP 2 and PP 2, both families."""

import os
import socket
from dataclasses import replace

import pytest
import torch
from torch import multiprocessing

from bionemo_ext.huggingface import ESM1nvConfig, read_model, write_folder
from bionemo_ext.sequences import ESM1NV, ESM2

LAYOUTS = {"one rank": (1, 1), "TP 2": (2, 1), "PP 2": (1, 2)}
SEQUENCES = ("MKTVRQGLLAWDERTYHPICSNF", "ACDEFGHIK")
ESM1NV_SMALL = ESM1nvConfig(layers=2, hidden=64, heads=4, max_positions=40)


def batch(alphabet):
    width = max(map(len, SEQUENCES)) + 2
    tokens = torch.full((len(SEQUENCES), width), alphabet.pad_id)
    for row, sequence in zip(tokens, SEQUENCES, strict=True):
        row[: len(sequence) + 2] = torch.tensor(alphabet.encode(sequence))
    tokens[:, 3] = alphabet.mask_id
    return tokens, (tokens != alphabet.pad_id).long()


def random_esm1nv(folder, config=ESM1NV_SMALL):
    """A random MegatronBert of transformers, as ESM-1nv's folder is; gives its model."""
    from transformers import MegatronBertConfig, MegatronBertForMaskedLM

    torch.manual_seed(1)
    raw = config.huggingface()
    raw.pop("architectures"), raw.pop("model_type")
    model = MegatronBertForMaskedLM(MegatronBertConfig(**raw, attn_implementation="eager")).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 0.1 if parameter.ndim == 1 else 0.05
            parameter.add_(scale * torch.randn_like(parameter))
            if "token_type" in name:
                parameter.zero_()
    model.save_pretrained(folder)
    return model


def esm1nv_logits(model, tokens, mask):
    """ESM-1nv from transformers' parts: its encoder, and the head with the erf GELU."""
    head = model.cls.predictions
    with torch.no_grad():
        hidden = model.bert(tokens, mask).last_hidden_state
        dense = torch.nn.functional.gelu(head.transform.dense(hidden))
        return head.decoder(head.transform.LayerNorm(dense))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, random_esm2):
    """Converted checkpoints and the references' logits, by family."""
    from bionemo_ext.recipes.conversion import Form, convert

    root = tmp_path_factory.mktemp("converted")
    tokens, mask = batch(ESM2)
    with torch.no_grad():
        logits = {"esm2": random_esm2(root / "hf2", 2, 64, 4)(tokens, mask).logits}
    model = random_esm1nv(root / "hf1")
    logits["esm1nv"] = esm1nv_logits(model, *batch(ESM1NV))
    folders = {"esm2": root / "nemo2", "esm1nv": root / "nemo1"}
    for source, out in zip(("hf2", "hf1"), folders.values(), strict=True):
        convert(root / source, out, Form.NEMO)
    return folders, logits


def rank(index, tensor, pipeline, port, folders, results):
    from megatron.core import dist_checkpointing, parallel_state, tensor_parallel

    from bionemo_ext.models.config import megatron_config
    from bionemo_ext.models.esm1nv import ESM1nvModel
    from bionemo_ext.models.esm2 import ESM2Model
    from bionemo_ext.models.folder import load_into
    from bionemo_ext.recipes import cpu
    from bionemo_ext.recipes.conversion import read_any

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=index, world_size=tensor * pipeline)
    cpu.enable()
    parallel_state.initialize_model_parallel(tensor, pipeline)
    tensor_parallel.model_parallel_cuda_manual_seed(1)
    for family, folder in folders.items():
        config, state = read_any(folder)
        made = []
        for _ in range(2):
            kind = ESM2Model if family == "esm2" else ESM1nvModel
            model = kind(
                config,
                megatron_config(config, tensor_parallel=tensor, pipeline_parallel=pipeline),
                pre_process=parallel_state.is_pipeline_first_stage(),
                post_process=parallel_state.is_pipeline_last_stage(),
                seed=len(made),
            )
            made.append(model.eval())
        load_into(made[0], state)
        # Megatron's own loader reads the folder too, to the same weights.
        wanted = made[1].sharded_state_dict(prefix="module.")
        found = dist_checkpointing.load(wanted, str(folder / "weights"))
        own = {n.removeprefix("module."): t for n, t in found.items() if n.startswith("module.")}
        # The norms go under their local names again, and the tied copy is the embedding.
        own = {unfused(n): t for n, t in own.items()}
        made[1].load_state_dict(own, strict=True)
        for (name, a), b in zip(made[0].named_parameters(), made[1].parameters(), strict=True):
            assert torch.equal(a, b), name
        logits = forward(made[0], config, pipeline)
        if parallel_state.is_pipeline_last_stage():
            logits = tensor_parallel.gather_from_tensor_model_parallel_region(logits)
            torch.save(logits[..., : len(config.alphabet)], results[family])
    torch.distributed.destroy_process_group()


def unfused(name):
    name = name.replace("self_attention.linear_qkv.layer_norm_", "input_layernorm.")
    return name.replace("mlp.linear_fc1.layer_norm_", "pre_mlp_layernorm.")


def forward(model, config, pipeline):
    """Run all stages, one after the other."""
    tokens, mask = batch(config.alphabet)
    with torch.no_grad():
        if pipeline == 1:
            return model(tokens, mask)
        shape = (tokens.shape[1], tokens.shape[0], config.hidden)
        if model.pre_process:
            torch.distributed.send(model(tokens, mask).contiguous(), 1)
            return None
        hidden = torch.empty(shape)
        torch.distributed.recv(hidden, 0)
        model.set_input_tensor(hidden)
        return model(tokens, mask)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_converted_checkpoint_gives_the_reference_logits(checkpoints, tmp_path, layout):
    folders, expected = checkpoints
    tensor, pipeline = LAYOUTS[layout]
    results = {family: tmp_path / f"{family}.pt" for family in folders}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    multiprocessing.spawn(
        rank,
        (tensor, pipeline, port, folders, results),
        nprocs=tensor * pipeline,
        join=True,
    )
    for family, path in results.items():
        alphabet = ESM2 if family == "esm2" else ESM1NV
        _, mask = batch(alphabet)
        found = torch.load(path)[mask.bool()]
        torch.testing.assert_close(found, expected[family][mask.bool()], rtol=0, atol=1e-5)
        assert found.std() > 0.1, "the logits are too flat to show an error"


def test_esm1nv_folders_are_bit_exact_both_ways(tmp_path):
    from safetensors.torch import load_file

    from bionemo_ext.models.folder import read_folder
    from bionemo_ext.models.folder import write_folder as write_state

    random_esm1nv(tmp_path / "theirs")
    config, state = read_folder(tmp_path / "theirs")
    assert config == ESM1NV_SMALL
    write_state(tmp_path / "ours", config, state)
    before, after = (load_file(tmp_path / n / "model.safetensors") for n in ("theirs", "ours"))
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
        assert tensor.dtype == after[name].dtype


def test_transformers_reads_our_esm1nv_encoder_exactly(tmp_path):
    from transformers import MegatronBertForMaskedLM, MegatronBertModel

    theirs = random_esm1nv(tmp_path / "theirs")
    write_folder(tmp_path / "ours", *read_model(tmp_path / "theirs"))
    encoder = MegatronBertModel.from_pretrained(tmp_path / "ours", add_pooling_layer=False).eval()
    assert encoder.config.hidden_act == "gelu_new"
    assert encoder.config.bionemo_ext == {"family": "esm1nv", "lm_head_activation": "gelu"}
    tokens, mask = batch(ESM1NV)
    with torch.no_grad():
        hidden = encoder(tokens, mask).last_hidden_state
        assert torch.equal(hidden, theirs.bert(tokens, mask).last_hidden_state)
        whole, report = MegatronBertForMaskedLM.from_pretrained(
            tmp_path / "ours", output_loading_info=True
        )
        assert not any(report.values()), report
        # Its head takes the encoder's tanh GELU: near ESM-1nv's, but not it.
        difference = (whole.eval()(tokens, mask).logits - esm1nv_logits(theirs, tokens, mask)).abs()
    assert 1e-6 < difference.max() < 1e-2


def test_esm1nv_folders_bring_their_tokenizer(tmp_path):
    from transformers import AutoTokenizer

    random_esm1nv(tmp_path / "theirs")
    write_folder(tmp_path / "ours", *read_model(tmp_path / "theirs"))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert len(tokenizer) == len(ESM1NV)
    for sequence in ("MKTVRQG", ESM1NV.residues, "A"):
        assert tokenizer(sequence)["input_ids"] == ESM1NV.encode(sequence).tolist()
    assert tokenizer("MK<mask>V")["input_ids"][3] == ESM1NV.mask_id
    ids = tokenizer(list(SEQUENCES), padding=True, return_tensors="pt")
    tokens, mask = batch(ESM1NV)
    tokens[:, 3] = ids["input_ids"][:, 3]
    assert torch.equal(ids["input_ids"], tokens)
    assert torch.equal(ids["attention_mask"], mask)
    special = tokenizer.convert_tokens_to_ids([ESM1NV.bos, ESM1NV.eos, ESM1NV.unk])
    assert special == [ESM1NV.bos_id, ESM1NV.eos_id, ESM1NV.ids[ESM1NV.unk]]
    assert (tokenizer.mask_token_id, tokenizer.pad_token_id) == (ESM1NV.mask_id, ESM1NV.pad_id)


@pytest.mark.parametrize(("positions", "residues"), [(512, 510), (514, 512)])
def test_512_positions_take_510_residues(tmp_path, positions, residues):
    from bionemo_ext.recipes.conversion import Form, convert

    random_esm1nv(tmp_path / "hf", replace(ESM1NV_SMALL, max_positions=positions))
    done = convert(tmp_path / "hf", tmp_path / "nemo", Form.NEMO)
    assert done.max_residues == residues
    told = any(f"512 positions take {residues} residues" in note for note in done.notes)
    assert told == (residues == 510)
