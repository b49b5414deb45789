"""Memory of a model, estimated and measured, and whether this machine is fit."""
