"""Fine-tuning jobs: records, queue, supervision and launching of trainers."""
