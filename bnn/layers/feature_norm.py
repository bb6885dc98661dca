"""BatchNorm over the last dimension, which is where a fully connected layer has its features."""

from torch import Tensor, nn

from bnn.errors.transforms import one_node


class FeatureNorm(nn.BatchNorm1d):
    """BatchNorm of inputs (n, features) or (n, ..., features): statistics of each feature over all else.

    `nn.BatchNorm1d` takes dimension 1 for the features: of (n, tokens, features) it would normalise the tokens.

    Examples
    --------
    >>> import torch
    >>> norm = FeatureNorm(2)
    >>> norm(torch.tensor([[[1.0, 5.0], [3.0, 7.0]]])).round().tolist()
    [[[-1.0, -1.0], [1.0, 1.0]]]
    """

    @one_node
    def forward(self, input: Tensor) -> Tensor:
        """Normalise, same shape."""
        return super().forward(input.reshape(-1, input.shape[-1])).view(input.shape)
