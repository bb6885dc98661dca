"""Fetching of memory ahead of its use, within kernels: a hint, which changes no number."""

from typing import Any

import numba as nb
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

LINE = 16  # numbers of 32 bits in a line of the cache


def _fetched(_: Any, array: Any, k: Any) -> Any:
    """Fetch the line with element k of an array, which may be after its end."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, whole = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, whole, whole, whole])
        hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        there = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        builder.call(hint, [there, whole(0), whole(3), whole(1)])  # to read, into the nearest cache, of data
        return context.get_dummy_value()

    return nb.void(array, nb.uint64), generate


fetch: Any = intrinsic(_fetched)
