"""Pure measures of pictures and key points: arrays in, numbers out; no file, no model of ours."""
