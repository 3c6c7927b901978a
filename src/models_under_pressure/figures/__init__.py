"""One module per figure: results in, altair chart out; one shared theme."""
