"""Segmenters behind the ports of `analysis.values`: rules without weights, and the only home of torch."""
