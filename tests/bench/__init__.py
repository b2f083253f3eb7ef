"""Speed and memory of whole commands, ours and those of other converters: `python -m tests.bench --help`."""
