"""What a person does around the workflow; the only room that knows the command lines of Snakemake, DVC and Slurm."""
