"""The paper's tables and figures, measured anew on any prepared data set. Behind `imagpose reproduce`."""
