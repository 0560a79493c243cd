"""Computes attention over a sequence that is distributed over MPI ranks, with libulysses (ctypes).

    import ulysses

    mesh = ulysses.Mesh()                      # all processes, or Mesh(comm) with mpi4py
    plan = ulysses.Attention(mesh, num_tokens=65536, num_q_heads=32, num_kv_heads=8, head_dim=128,
                             dtype="bfloat16", masks=ulysses.Mask("causal"))
    x = plan.cut(stream)                       # the tokens of this rank
    o = ulysses.attention(q, k, v, plan)       # torch, with gradients
    o = plan.forward(q, k, v)                  # NumPy or torch, without gradients

Tensors are NumPy arrays or torch tensors in CPU memory. They must be contiguous and have the plan's
dtype: q and o are [T, Hq, d], and k and v are [T, Hkv, d], where T is the number of tokens on this
rank. bfloat16 is the type from torch or ml_dtypes, or its bits as uint16.

What ulysses.h marks as collective is collective here too: every rank of the mesh makes the calls,
in the same order. These are Mesh(), Mesh.close(), Mesh.agree(), Attention(), Saved(),
Attention.forward(), Attention.backward(), attention() and its backward pass. A call that fails
raises an Error on all ranks. If an argument on one rank cannot be used, that rank raises TypeError
or ValueError, and the others raise an Error.

The garbage collector may free plans and saved states at any time, since this does not involve other
ranks. It never frees the communicators of a mesh: Mesh.close() does, or else the end of MPI.

The library is the one that ULYSSES_LIBRARY names in the environment, or the one that was installed
together with this file, or the one that the system finds (LD_LIBRARY_PATH).
"""

import atexit
import contextlib
import ctypes
import functools
import itertools
import operator
import os
import pathlib
import sys
import weakref
from collections import namedtuple
from ctypes import POINTER, byref, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t
from ctypes import c_uint64, c_void_p, sizeof

__all__ = ["Attention", "BlockLayout", "ConfigError", "Error", "Mask", "MemoryLimitError", "Mesh",
           "Saved", "TokenRun", "abort", "attention"]

# ------------------------------------------------------------------ what ulysses.h declares

STATUS = {"ULY_OK": 0, "ULY_ERR_CONFIG": 1, "ULY_ERR_DATA": 2, "ULY_ERR_IO": 3,
          "ULY_ERR_MEMORY": 4, "ULY_ERR_COMM": 5, "ULY_ERR_NONFINITE": 6, "ULY_ERR_INTERNAL": 7}
DTYPE = {"ULY_F32": 0, "ULY_BF16": 1, "ULY_F16": 2}
MASK_KIND = {"ULY_MASK_FULL": 0, "ULY_MASK_CAUSAL": 1}
SPARSE = {"ULY_SPARSE_NONE": 0, "ULY_SPARSE_LONGFORMER": 1, "ULY_SPARSE_STRIDED": 2,
          "ULY_SPARSE_FIXED": 3, "ULY_SPARSE_BIGBIRD": 4}


class uly_mesh_desc(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("dp", c_int), ("sp", c_int), ("ulysses", c_int),
                ("ring", c_int), ("tp", c_int), ("pp", c_int), ("gather", c_int)]


class uly_sparse(ctypes.Structure):
    _fields_ = [("pattern", c_int), ("block", c_int64), ("local", c_int64), ("global", c_int64),
                ("random", c_int64), ("seed", c_uint64), ("reserved", c_int64 * 4)]


class uly_block_layout(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("block", c_int64), ("num_blocks", c_int64),
                ("num_layouts", c_int), ("row_begin", POINTER(c_int64)), ("cols", POINTER(c_int32))]


class uly_mask(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("kind", c_int), ("window", c_int64),
                ("doc_start", POINTER(c_int64)), ("num_docs", c_int64),
                ("blocks", POINTER(uly_block_layout))]


class uly_attention_callback(ctypes.Structure):
    _fields_ = [("forward", c_void_p), ("backward", c_void_p), ("user", c_void_p)]


class uly_attention_desc(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("num_tokens", c_int64), ("num_q_heads", c_int),
                ("num_kv_heads", c_int), ("head_dim", c_int), ("dtype", c_int),
                ("masks", POINTER(uly_mask)), ("num_masks", c_int), ("scale", c_float),
                ("token_tile", c_int64), ("max_docs", c_int64), ("head_groups", c_int),
                ("callback", uly_attention_callback)]


class uly_token_run(ctypes.Structure):
    _fields_ = [("begin", c_int64), ("count", c_int64)]


# Name: (result type, argument types). c_void_p stands for objects and tensors.
FUNCTIONS = {
    "uly_last_error": (c_char_p, []),
    "uly_fail": (c_int, [c_int, c_char_p]),  # followed by the format's arguments
    "uly_status_name": (c_char_p, [c_int]),
    "uly_init": (c_int, [c_void_p, c_void_p]),
    "uly_finalize": (None, []),
    "uly_abort": (None, [c_int]),
    "uly_world_size": (c_int, []),
    "uly_mesh_create": (c_int, [POINTER(uly_mesh_desc), POINTER(c_void_p)]),
    "uly_mesh_create_fortran": (c_int, [c_int, POINTER(uly_mesh_desc), POINTER(c_void_p)]),
    "uly_mesh_create_offline": (c_int, [POINTER(uly_mesh_desc), c_int, POINTER(c_void_p)]),
    "uly_mesh_destroy": (None, [c_void_p]),
    **{f"uly_mesh_{name}": (c_int, [c_void_p])
       for name in ("rank", "size", "dp", "sp", "ulysses", "ring", "gather", "tp", "pp",
                    "dp_index", "pp_index", "threads")},
    "uly_mesh_agree": (c_int, [c_void_p, c_int]),
    "uly_attention_create": (c_int, [c_void_p, POINTER(uly_attention_desc), POINTER(c_void_p)]),
    "uly_attention_destroy": (None, [c_void_p]),
    "uly_attention_tokens": (POINTER(uly_token_run), [c_void_p, POINTER(c_int)]),
    "uly_attention_set_documents": (c_int, [c_void_p, POINTER(c_int64), c_int64]),
    "uly_attention_pairs": (c_double, [c_void_p, c_int]),
    "uly_attention_saved_create": (c_int, [c_void_p, POINTER(c_void_p)]),
    "uly_attention_saved_destroy": (None, [c_void_p]),
    "uly_attention_forward_layer": (c_int, [c_void_p, c_int, c_void_p, c_void_p, c_void_p,
                                            c_void_p, c_void_p, c_void_p]),
    "uly_attention_backward_layer": (c_int, [c_void_p, c_void_p, c_void_p, c_void_p, c_void_p,
                                             c_void_p]),
    "uly_block_layout_create": (c_int, [POINTER(uly_sparse), c_int, c_int64, c_int,
                                        POINTER(POINTER(uly_block_layout))]),
    "uly_block_layout_destroy": (None, [POINTER(uly_block_layout)]),
}

SONAME = "libulysses.so.1"


def _find_library():
    """Returns the library to load: a path, or a name for the system to look up."""
    named = os.environ.get("ULYSSES_LIBRARY")
    if named:
        return named
    here = pathlib.Path(__file__).resolve()
    if here.parts[-4:-1] == ("share", "ulysses", "python"):
        prefix = here.parents[3]
        for pattern in ("lib*/" + SONAME, "lib/*/" + SONAME):
            for path in sorted(prefix.glob(pattern)):
                return str(path)
    return SONAME


@functools.lru_cache(maxsize=None)
def _library():
    """Returns the library, which is loaded by the first call."""
    name = _find_library()
    try:
        lib = ctypes.CDLL(name)
    except OSError as error:
        raise ImportError(
            f"cannot load the Ulysses library: {error}. Set ULYSSES_LIBRARY to the path of "
            f"{SONAME}, or LD_LIBRARY_PATH to its folder") from error
    for function, types in FUNCTIONS.items():
        call = getattr(lib, function)
        call.restype, call.argtypes = types
    return lib


# ------------------------------------------------------------------------------------ errors


class Error(RuntimeError):
    """The library has refused a call or failed. `status` is the status name, such as "config"."""

    status = "internal"


class ConfigError(Error, ValueError):
    """A setting, a shape or a mesh cannot work."""


class MemoryLimitError(Error, MemoryError):
    """An allocation failed."""


_ERRORS = {STATUS["ULY_ERR_CONFIG"]: ConfigError, STATUS["ULY_ERR_MEMORY"]: MemoryLimitError}


def _check(status):
    """Raises an Error with the library's message if a call has failed."""
    if status == STATUS["ULY_OK"]:
        return
    lib = _library()
    error = _ERRORS.get(status, Error)(lib.uly_last_error().decode("utf-8", "replace"))
    error.status = lib.uly_status_name(status).decode()
    raise error


def _enum(values, prefix, name, what):
    """Returns the value of `name`, such as "causal", in an enum of the header."""
    number = values.get(prefix + str(name).upper())
    if number is None:
        known = ", ".join(key[len(prefix):].lower() for key in values)
        raise ValueError(f"{what} is {name!r}: it must be one of {known}")
    return number


def _integer(value, name, bits=64):
    """Returns an integer that the library can hold. ctypes would silently drop excess bits."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}: it must be an integer") from None
    if not -2 ** (bits - 1) <= number < 2 ** (bits - 1):
        raise ValueError(f"{name} is {number}: that is more than {bits} bits can hold")
    return number


# ---------------------------------------------------------------------------- start and mesh


def _finalize():
    """Ends MPI if this module has started it. If a rank ends with an exception, it ends the whole
    job, since the other ranks would wait for it."""
    if hasattr(sys, "last_type") and _library().uly_world_size() > 1:
        abort(1)
    _library().uly_finalize()


@functools.lru_cache(maxsize=None)
def _start():
    """Starts MPI, unless mpi4py or the program has done so."""
    initialized = c_int(0)
    _library().MPI_Initialized(byref(initialized))
    _check(_library().uly_init(None, None))
    if not initialized.value:
        atexit.register(_finalize)


def _check_mpi(mpi):
    """Refuses an mpi4py that uses a different MPI: its handles would have no meaning here."""
    text = ctypes.create_string_buffer(8192)
    _library().MPI_Get_library_version(text, byref(c_int(0)))
    versions = [text.value.decode(errors="replace"), mpi.Get_library_version()]
    ours, theirs = (" ".join(version.strip("\0").split(",")[0].split()) for version in versions)
    if ours != theirs:
        raise ImportError(f"the Ulysses library uses {ours}, but mpi4py uses {theirs}: both must "
                          "use the same MPI")


def abort(exit_code=1):
    """Ends the whole job at once, for errors that only one rank knows about. Does not return."""
    sys.stdout.flush()
    sys.stderr.flush()
    _library().uly_abort(exit_code)


class Mesh:
    """Says which ranks share a sequence: `sp` of them, in each of `dp` groups.

    comm: an mpi4py communicator, or a communicator's Fortran handle as an integer; None: all
    processes that mpirun has started, or this one alone without mpirun. Collective."""

    def __init__(self, comm=None, *, sp=0, dp=0, ulysses=0):
        desc = uly_mesh_desc(size=sizeof(uly_mesh_desc), sp=sp, dp=dp, ulysses=ulysses)
        lib, handle = _library(), c_void_p()
        if "mpi4py.MPI" in sys.modules:
            _check_mpi(sys.modules["mpi4py.MPI"])
        _start()
        if comm is None:
            _check(lib.uly_mesh_create(byref(desc), byref(handle)))
        else:
            fortran = comm.py2f() if hasattr(comm, "py2f") else int(comm)
            _check(lib.uly_mesh_create_fortran(fortran, byref(desc), byref(handle)))
        self._handle = handle

    @classmethod
    def offline(cls, rank=0, *, sp=0, dp=0):
        """Returns a mesh to plan with, as rank `rank` of sp x dp ranks that need not exist."""
        mesh, handle = cls.__new__(cls), c_void_p()
        desc = uly_mesh_desc(size=sizeof(uly_mesh_desc), sp=sp, dp=dp)
        _check(_library().uly_mesh_create_offline(byref(desc), rank, byref(handle)))
        mesh._handle = handle
        return mesh

    def _open(self):
        if not self._handle:
            raise ValueError("the mesh is closed")
        return self._handle

    def close(self):
        """Frees the communicators. Afterwards, the mesh's plans can only be closed. Collective."""
        handle, self._handle = self._handle, None
        if handle:
            _library().uly_mesh_destroy(handle)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:  # otherwise, other ranks may be elsewhere
            self.close()

    rank = property(lambda self: _library().uly_mesh_rank(self._open()))
    size = property(lambda self: _library().uly_mesh_size(self._open()))
    dp = property(lambda self: _library().uly_mesh_dp(self._open()))
    sp = property(lambda self: _library().uly_mesh_sp(self._open()))
    ulysses = property(lambda self: _library().uly_mesh_ulysses(self._open()))
    ring = property(lambda self: _library().uly_mesh_ring(self._open()))
    gather = property(lambda self: _library().uly_mesh_gather(self._open()))
    tp = property(lambda self: _library().uly_mesh_tp(self._open()))
    pp = property(lambda self: _library().uly_mesh_pp(self._open()))
    threads = property(lambda self: _library().uly_mesh_threads(self._open()))

    def agree(self, error=None):
        """Makes all ranks fail if any rank has failed. Every rank passes None or the exception that
        has occurred; this is raised again there, and an Error is raised on the other ranks.
        Collective."""
        lib, status = _library(), STATUS["ULY_OK"]
        if error is not None:
            text = f"rank {self.rank}: {type(error).__name__}: {error}"
            status = lib.uly_fail(STATUS["ULY_ERR_CONFIG"], b"%s", c_char_p(text.encode()))
        status = lib.uly_mesh_agree(self._open(), status)
        if error is not None:
            raise error
        _check(status)


# ------------------------------------------------------------------------------------- masks


def _int64s(values, name):
    """Returns integers in the form that the library reads, or None if there are none."""
    values = [] if values is None else [_integer(value, name) for value in values]
    return (c_int64 * len(values))(*values) if values else None


class BlockLayout:
    """A block-sparse layout: the stream is divided into blocks of `block` tokens, and each block of
    queries is a row, which lists the blocks of keys that it sees.

    layouts: one list of rows for all query heads, or one for each: layouts[head][row] is a list."""

    def __init__(self, block, layouts):
        rows = [row for layout in layouts for row in layout]
        num_layouts, num_blocks = len(layouts), len(layouts[0]) if layouts else 0
        if any(len(layout) != num_blocks for layout in layouts):
            raise ValueError("the layouts of a BlockLayout must have the same number of rows")
        begin = list(itertools.accumulate(map(len, rows), initial=0))
        cols = [_integer(col, "a block of a row", 32) for row in rows for col in row]
        self._struct = uly_block_layout(
            size=sizeof(uly_block_layout), block=_integer(block, "block"), num_blocks=num_blocks,
            num_layouts=num_layouts, row_begin=_int64s(begin, "the start of a row"),
            cols=(c_int32 * len(cols))(*cols))

    @classmethod
    def pattern(cls, name, num_tokens, block, *, kind="causal", local=0, num_global=0, random=0,
                seed=0, num_layouts=1):
        """Returns a layout with the pattern "longformer", "bigbird", "strided" or "fixed", which
        ulysses.h explains. num_layouts: 1, or the number of query heads."""
        sparse = uly_sparse(pattern=_enum(SPARSE, "ULY_SPARSE_", name, "the pattern"),
                            block=_integer(block, "block"), local=_integer(local, "local"),
                            random=_integer(random, "random"), seed=seed,
                            **{"global": _integer(num_global, "num_global")})
        made, lib = POINTER(uly_block_layout)(), _library()
        kind = _enum(MASK_KIND, "ULY_MASK_", kind, "the kind of a mask")
        _check(lib.uly_block_layout_create(byref(sparse), kind, _integer(num_tokens, "num_tokens"),
                                           _integer(num_layouts, "num_layouts", 32), byref(made)))
        layout = cls.__new__(cls)
        layout._struct = made.contents
        weakref.finalize(layout, lib.uly_block_layout_destroy, made)
        return layout

    @property
    def rows(self):
        """The lists of blocks: rows[head][row], with a single head if all heads share one."""
        s = self._struct
        return [[s.cols[s.row_begin[r]:s.row_begin[r + 1]]
                 for r in range(h * s.num_blocks, (h + 1) * s.num_blocks)]
                for h in range(s.num_layouts)]


class Mask:
    """Says which keys a query sees: all ("full") or those up to itself ("causal"), at a distance
    below `window` (0: any), and only in the blocks of a BlockLayout."""

    def __init__(self, kind="causal", *, window=0, blocks=None):
        self.kind, self.window, self.blocks = kind, window, blocks

    def _fill(self, struct, documents):
        struct.size = sizeof(uly_mask)
        struct.kind = _enum(MASK_KIND, "ULY_MASK_", self.kind, "the kind of a mask")
        struct.window = _integer(self.window, "window")
        if documents:
            struct.doc_start, struct.num_docs = documents, len(documents)
        if self.blocks is not None:
            struct.blocks = ctypes.pointer(self.blocks._struct)


# ----------------------------------------------------------------------------------- tensors

_Tensor = namedtuple("_Tensor", "address dtype shape is_contiguous is_writable")


def _look_at(x, name):
    """Returns what the library needs to know about an array or a tensor."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch and isinstance(x, torch.Tensor):
        if x.device.type != "cpu":
            raise ValueError(f"{name} is on the device {x.device}: tensors must be on the CPU")
        if x.requires_grad and torch.is_grad_enabled():
            raise ValueError(f"{name} requires a gradient: call ulysses.attention(), or compute "
                             "under torch.no_grad()")
        is_plain = x.layout == torch.strided and not x.is_neg()
        return _Tensor(x.data_ptr() if is_plain else None, str(x.dtype)[len("torch."):],
                       tuple(x.shape), is_plain and x.is_contiguous(), True)
    if numpy and isinstance(x, numpy.ndarray):
        return _Tensor(x.ctypes.data, x.dtype.name if x.dtype.isnative else str(x.dtype), x.shape,
                       x.flags.c_contiguous, x.flags.writeable)
    raise TypeError(f"{name} is of type {type(x).__name__}: pass a NumPy array or a torch tensor")


def _address(x, name, dtype, shape, is_output=False):
    """Returns the address of a tensor's elements, after checking its shape and type."""
    tensor = _look_at(x, name)
    if tensor.dtype not in ((dtype,) if dtype == "float32" else (dtype, "uint16")):
        raise TypeError(f"{name} is of {tensor.dtype}, but the plan is of {dtype}")
    if tensor.shape != shape:
        raise ValueError(f"{name} has the shape {tensor.shape}, but the plan wants {shape}")
    if not tensor.is_contiguous:
        raise ValueError(f"{name} is not contiguous: pass a contiguous copy")
    if is_output and not tensor.is_writable:
        raise ValueError(f"{name} cannot be written to")
    return tensor.address


def _empty_like(x, shape, dtype=None):
    """Returns a new NumPy array or torch tensor, whichever x is. dtype None: that of x."""
    torch = sys.modules.get("torch")
    if torch and isinstance(x, torch.Tensor):
        return torch.empty(shape, dtype=getattr(torch, dtype) if dtype else x.dtype)
    import numpy
    return numpy.empty(shape, dtype or x.dtype)


# --------------------------------------------------------------------------------- attention


@contextlib.contextmanager
def _or_tell(call, *arguments):
    """If the body raises, makes a call that must fail, so that the other ranks learn about it."""
    try:
        yield
    except Exception:
        call(*arguments)
        raise


class _Owned:
    """A library object that the garbage collector may free."""

    def _own(self, what, handle, free):
        self._what, self._handle = what, handle
        self._free = weakref.finalize(self, free, handle)

    def _open(self):
        if not self._free.alive:
            raise ValueError(f"the {self._what} is closed")
        return self._handle

    def close(self):
        """Frees the memory. Not collective."""
        self._free()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()


TokenRun = namedtuple("TokenRun", "begin count")


class Attention(_Owned):
    """A plan of attention over the ranks of a mesh that share a sequence. One plan serves any
    number of layers. Collective.

    masks: a Mask, or a list from which forward selects one; None: all tokens see all tokens.
    documents: first tokens of the documents in the stream, in ascending order from 0.
    The other arguments are those of uly_attention_desc in ulysses.h."""

    def __init__(self, mesh, *, num_tokens, num_q_heads, head_dim, num_kv_heads=None,
                 dtype="float32", masks=None, documents=None, scale=0.0, token_tile=0, max_docs=0,
                 head_groups=0):
        num_kv_heads = num_q_heads if num_kv_heads is None else num_kv_heads
        lib, handle, num_runs = _library(), c_void_p(), c_int()
        with _or_tell(lib.uly_attention_create, mesh._open(), None, byref(handle)):
            codes = {"float32": DTYPE["ULY_F32"], "bfloat16": DTYPE["ULY_BF16"]}
            if dtype not in codes:
                raise ValueError(f"dtype is {dtype!r}: it must be 'float32' or 'bfloat16'")
            masks = Mask("full") if masks is None else masks
            masks = [masks] if isinstance(masks, Mask) else list(masks)
            if not masks or not all(isinstance(mask, Mask) for mask in masks):
                raise TypeError(f"masks is {masks}: it must be a Mask, or a list of at least one")
            structs, starts = (uly_mask * len(masks))(), _int64s(documents, "a start in documents")
            for mask, struct in zip(masks, structs):
                mask._fill(struct, starts)
            desc = uly_attention_desc(
                size=sizeof(uly_attention_desc), num_tokens=_integer(num_tokens, "num_tokens"),
                num_q_heads=_integer(num_q_heads, "num_q_heads", 32),
                num_kv_heads=_integer(num_kv_heads, "num_kv_heads", 32),
                head_dim=_integer(head_dim, "head_dim", 32), dtype=codes[dtype], masks=structs,
                num_masks=len(masks), scale=scale, token_tile=_integer(token_tile, "token_tile"),
                max_docs=_integer(max_docs, "max_docs"),
                head_groups=_integer(head_groups, "head_groups", 32))
        _check(lib.uly_attention_create(mesh._open(), byref(desc), byref(handle)))
        self._own("plan", handle, lib.uly_attention_destroy)
        runs = lib.uly_attention_tokens(handle, byref(num_runs))
        self.mesh, self.dtype, self.num_tokens = mesh, dtype, num_tokens
        self.runs = [TokenRun(run.begin, run.count) for run in runs[:num_runs.value]]
        self.num_local_tokens = sum(run.count for run in self.runs)
        self._q_shape = (self.num_local_tokens, num_q_heads, head_dim)
        self._kv_shape = (self.num_local_tokens, num_kv_heads, head_dim)

    def cut(self, x):
        """Returns the rows of x that this rank holds. The first dimension of x is the stream. The
        result is a view if the rows are one run."""
        if len(x) != self.num_tokens:
            raise ValueError(f"the plan has {self.num_tokens} tokens, but x has {len(x)} rows")
        parts = [x[run.begin:run.begin + run.count] for run in self.runs]
        if len(parts) == 1:
            return parts[0]
        module = sys.modules[type(x).__module__.split(".")[0]]  # torch or numpy
        return module.concatenate(parts)

    def set_documents(self, documents):
        """Replaces the documents of all masks; None: the stream is one document.
        Every rank must pass the same. Not collective."""
        starts = _int64s(documents, "a start in documents")
        _check(_library().uly_attention_set_documents(self._open(), starts, len(starts or ())))

    def pairs(self, mask=0):
        """Returns the number of pairs of a query and a key that it sees, over all query heads."""
        return _library().uly_attention_pairs(self._open(), _integer(mask, "mask", 32))

    def forward(self, q, k, v, *, mask=0, lse=False, saved=None, out=None):
        """Returns o or, with lse, (o, lse). lse, float32 [T, Hq], is the natural logarithm of each
        row's sum of exp(scale * q.k). `saved` keeps what backward needs. Collective."""
        forward, handle = _library().uly_attention_forward_layer, self._open()
        with _or_tell(forward, handle, -1, *[None] * 6):
            mask = _integer(mask, "mask", 32)
        with _or_tell(forward, handle, mask if self.num_local_tokens else -1, *[None] * 6):
            kept = None if saved is None else _state_of(saved)
            addresses = [_address(q, "q", self.dtype, self._q_shape),
                         _address(k, "k", self.dtype, self._kv_shape),
                         _address(v, "v", self.dtype, self._kv_shape)]
            o = _empty_like(q, self._q_shape) if out is None else out
            addresses.append(_address(o, "out", self.dtype, self._q_shape, is_output=True))
            sums = _empty_like(q, self._q_shape[:2], "float32") if lse else None
            addresses.append(_look_at(sums, "lse").address if lse else None)
        _check(forward(handle, mask, *addresses, kept))
        return (o, sums) if lse else o

    def backward(self, saved, d_o):
        """Returns the gradients of q, k and v of the forward that filled `saved`. Collective."""
        backward, handle = _library().uly_attention_backward_layer, self._open()
        is_state = isinstance(saved, Saved) and saved._free.alive
        kept = saved._handle if is_state and self.num_local_tokens else None
        with _or_tell(backward, handle, kept, *[None] * 4):
            kept = _state_of(saved)
            addresses = [_address(d_o, "d_o", self.dtype, self._q_shape)]
            gradients = tuple(_empty_like(d_o, shape)
                              for shape in (self._q_shape, self._kv_shape, self._kv_shape))
            addresses += [_look_at(x, "a gradient").address for x in gradients]
        _check(backward(handle, kept, *addresses))
        return gradients


class Saved(_Owned):
    """What forward keeps for backward, for one layer. Creating one is collective."""

    def __init__(self, plan):
        lib, handle = _library(), c_void_p()
        _check(lib.uly_attention_saved_create(plan._open(), byref(handle)))
        self._own("saved state", handle, lib.uly_attention_saved_destroy)


def _state_of(saved):
    """Returns the handle of a saved state."""
    if not isinstance(saved, Saved):
        raise TypeError(f"saved is of type {type(saved).__name__}: pass a Saved")
    return saved._open()


# ------------------------------------------------------------------------------------- torch

# Saved states of graphs that are alive. A graph holds a tensor with the number of its state, and
# the memory of this tensor owns the state. So states live exactly as long as torch's own saved
# tensors, even with retain_graph and torch.utils.checkpoint. (They are not reused: whether a rank
# has a spare one would depend on its garbage collector, and creating one is collective.)
_states = weakref.WeakValueDictionary()


class _Token(c_int64):
    """The memory of a tensor that holds the number of a state."""


@functools.lru_cache(maxsize=None)
def _function():
    """Returns the torch.autograd.Function of attention, which is created by the first call."""
    import torch

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, q, k, v, plan, mask):
            state, token = Saved(plan), _Token()
            token.value = id(state)
            token.state = state
            _states[id(state)] = state
            o = plan.forward(q, k, v, mask=mask, saved=state)
            ctx.plan = plan
            ctx.save_for_backward(torch.frombuffer(token, dtype=torch.int64))
            return o

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, d_o):
            (token,) = ctx.saved_tensors
            state = _states.get(token.item())
            if state is None:
                raise RuntimeError("what attention kept for backward is gone: hooks that copy "
                                   "saved tensors, such as save_on_cpu, cannot be used with it")
            return (*ctx.plan.backward(state, d_o.contiguous()), None, None)

    return Function


def attention(q, k, v, plan, mask=0):
    """Computes attention over the ranks of the plan and returns o, with gradients. Takes torch
    tensors, and copies those that are not contiguous. Collective, and so is its backward pass: all
    ranks of a sequence must make the calls in the same order, and either all or none of them must
    ask for gradients. What backward needs is kept as long as torch keeps saved tensors."""
    import torch
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    if torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v)):
        return _function().apply(q, k, v, plan, mask)
    return plan.forward(q, k, v, mask=mask)
