"""Networks: ordinary `torch.nn.Module`s. No data, no losses."""
