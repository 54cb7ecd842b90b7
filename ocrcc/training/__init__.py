"""The one training loop, what it minimises and draws from, and its two users: pretraining and fine-tuning."""
