"""The transfer study: how well a property of proteins is read off frozen embeddings.

Embeddings of labelled proteins are compressed to one vector each, a regression learns the label
from the vectors, and a mixed model tells which compression and which encoder is better (Vieira,
Handojo and Wilke, Sci Rep 2025, doi 10.1038/s41598-025-05674-x).
"""
