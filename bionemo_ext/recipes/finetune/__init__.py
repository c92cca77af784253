"""Fine-tune a task: on a frozen encoder, with adapters, or with all weights."""
