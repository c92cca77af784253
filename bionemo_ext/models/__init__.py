"""ESM models in Megatron-core, and their way from and to the Hugging Face format."""
