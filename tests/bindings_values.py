"""Values of the Python module against attention in float64 that knows no ranks. Run under mpirun.
bindings_values.py numpy|mpi4py|torch; exit code 77: what the part needs is not installed."""

import gc
import os
import sys
import warnings


def need(module):
    """Returns the module, or ends this test as skipped."""
    try:
        return __import__(module)
    except ImportError as error:
        print(f"skipped: {error}")
        sys.exit(77)


np = need("numpy")
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../bindings/python"))
import ulysses  # noqa: E402

HQ, HKV, D = 6, 3, 5
num_checks = 0


def check(condition, *what):
    global num_checks
    num_checks += 1
    if not condition:
        raise AssertionError(" ".join(str(part) for part in what))


def raises(kind, text, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kind as error:
        check(text in str(error), f"{text!r} is not in {error!r}")
        return error
    raise AssertionError(f"no {kind.__name__} with {text!r}")


def close(x, y, tolerance, what):
    difference = np.abs(np.asarray(x, np.float64) - y).max(initial=0)
    largest = max(1, np.abs(y).max(initial=0))
    check(difference <= tolerance * largest, what, "differs by", difference)


# ------------------------------------------------------------------------------- the reference


def visible(n, mask, documents):
    """Returns [Hq, n, n]: whether a query sees a key."""
    i, j = np.arange(n)[:, None], np.arange(n)[None, :]
    seen = j <= i if mask.kind == "causal" else np.ones((n, n), bool)
    if mask.window:
        seen = seen & (abs(i - j) < mask.window)
    if documents is not None:
        number = np.searchsorted(documents, np.arange(n), side="right")
        seen = seen & (number[:, None] == number[None, :])
    seen = np.repeat(seen[None], HQ, 0)
    if mask.blocks is not None:
        block, rows = mask.block, mask.blocks.rows
        for head in range(HQ):
            of_head = np.zeros((n, n), bool)
            for row, cols in enumerate(rows[head % len(rows)]):
                for col in cols:
                    of_head[row * block:(row + 1) * block, col * block:(col + 1) * block] = True
            seen[head] &= of_head
    return seen


def reference(q, k, v, d_o, seen, scale):
    """Returns o, lse, d_q, d_k, d_v of the whole stream in float64."""
    q, k, v, d_o = (np.asarray(x, np.float64).transpose(1, 0, 2) for x in (q, k, v, d_o))
    k, v = np.repeat(k, HQ // HKV, 0), np.repeat(v, HQ // HKV, 0)
    scores = np.where(seen, scale * q @ k.transpose(0, 2, 1), -np.inf)
    most = scores.max(-1, keepdims=True)
    p = np.exp(scores - most)
    total = p.sum(-1, keepdims=True)
    p /= total
    o = p @ v
    d_s = p * (d_o @ v.transpose(0, 2, 1) - (d_o * o).sum(-1, keepdims=True))
    d_q, d_k, d_v = scale * d_s @ k, scale * d_s.transpose(0, 2, 1) @ q, p.transpose(0, 2, 1) @ d_o
    shared = [x.reshape(HKV, HQ // HKV, *x.shape[1:]).sum(1) for x in (d_k, d_v)]
    lse = (most + np.log(total))[..., 0].T
    return [o.transpose(1, 0, 2), lse] + [x.transpose(1, 0, 2) for x in (d_q, *shared)]


def inputs(n, seed):
    random = np.random.default_rng(seed)
    return [random.standard_normal((n, heads, D)).astype(np.float32)
            for heads in (HQ, HKV, HKV, HQ)]


def masks_of(n, seed):
    """Returns masks of every kind; those with a layout know their block."""
    masks = [ulysses.Mask("full"), ulysses.Mask("causal"), ulysses.Mask("causal", window=7),
             ulysses.Mask("full", window=4)]
    rows = [[sorted({0, row}) for row in range((n + 3) // 4)] for _ in range(HQ)]
    rows[2] = [[row] for row in range((n + 3) // 4)]
    drawn = ulysses.BlockLayout.pattern("bigbird", n, 5, random=1, local=1, seed=seed,
                                        num_layouts=HQ)
    for blocks, block in ((ulysses.BlockLayout(4, rows), 4), (ulysses.BlockLayout(4, rows[:1]), 4),
                          (drawn, 5)):
        mask = ulysses.Mask("causal", blocks=blocks)
        mask.block = block
        masks.append(mask)
    return masks


# ---------------------------------------------------------------------------------- bfloat16


def to_bf16(x):
    """Returns the bits of the nearest bfloat16 numbers, as uint16."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(x):
    return (x.astype(np.uint32) << 16).view(np.float32)


# ------------------------------------------------------------------------------------- parts


def check_values(mesh):
    for n, documents, scale in ((1, None, 0), (23, None, 0), (41, [0, 13, 14, 30], 0.7)):
        masks = masks_of(n, seed=n)
        plan = ulysses.Attention(mesh, num_tokens=n, num_q_heads=HQ, num_kv_heads=HKV, head_dim=D,
                                 masks=masks, documents=documents, scale=scale, max_docs=min(n, 5))
        check(plan.num_local_tokens == len(plan.cut(np.zeros(n))), "the tokens of a rank")
        layers = []
        for number, mask in enumerate(masks):  # several forwards, then their backwards
            q, k, v, d_o = inputs(n, seed=number)
            saved = ulysses.Saved(plan)
            o, lse = plan.forward(plan.cut(q), plan.cut(k), plan.cut(v), mask=number, lse=True,
                                  saved=saved)
            layers.append((number, mask, saved, (q, k, v, d_o), o, lse))
        for number, mask, saved, (q, k, v, d_o), o, lse in reversed(layers):
            seen = visible(n, mask, documents)
            check(plan.pairs(number) == seen.sum(), "pairs", plan.pairs(number), seen.sum())
            expected = reference(q, k, v, d_o, seen, scale or D ** -0.5)
            got = [o, lse, *plan.backward(saved, plan.cut(d_o))]
            for x, y, what in zip(got, expected, ("o", "lse", "d_q", "d_k", "d_v")):
                close(x, plan.cut(y), 2e-5, f"{what} of mask {number}, {n} tokens")
            saved.close()
        if documents:
            plan.set_documents(np.array([0, 20]))
            q, k, v, d_o = inputs(n, seed=5)
            expected = reference(q, k, v, d_o, visible(n, masks[1], [0, 20]), scale)
            o = np.empty((plan.num_local_tokens, HQ, D), np.float32)
            check(plan.forward(plan.cut(q), plan.cut(k), plan.cut(v), mask=1, out=o) is o, "out")
            close(o, plan.cut(expected[0]), 2e-5, "o with other documents")
        plan.close()


def check_bf16(mesh):
    n = 29
    plan = ulysses.Attention(mesh, num_tokens=n, num_q_heads=HQ, num_kv_heads=HKV, head_dim=D,
                             masks=ulysses.Mask(), dtype="bfloat16")
    bits = [to_bf16(x) for x in inputs(n, seed=3)]
    expected = reference(*[from_bf16(x) for x in bits], visible(n, ulysses.Mask(), None), D ** -0.5)
    with ulysses.Saved(plan) as saved:
        o = plan.forward(*[plan.cut(x) for x in bits[:3]], saved=saved)
        got = [o, *plan.backward(saved, plan.cut(bits[3]))]
    for x, y, what in zip(got, expected[:1] + expected[2:], ("o", "d_q", "d_k", "d_v")):
        check(x.dtype == np.uint16, what, x.dtype)
        close(from_bf16(x), plan.cut(y), 2e-2, f"bfloat16 {what}")
    try:
        from ml_dtypes import bfloat16
    except ImportError:
        return
    again = plan.forward(*[plan.cut(x).view(bfloat16) for x in bits[:3]])
    check(again.dtype == bfloat16 and (again.view(np.uint16) == o).all(), "the type of ml_dtypes")


def check_one_rank(mesh, plan, qkv, saved, d_o):
    """What cannot be handed to C at all, on one rank alone: the others do not wait for it."""
    is_odd = mesh.rank == 0

    def refuse(kind, text, call, *given, **named):
        if is_odd:
            raises(kind, text, call, *given, **named)
        else:
            raises(ulysses.ConfigError, "rank 0", call, *given, **named)

    refuse(TypeError, "mask is 1.0", plan.forward, *qkv, mask=1.0 if is_odd else 0)
    refuse(ValueError, "mask is 4294967296", plan.forward, *qkv, mask=2 ** 32 if is_odd else 0)
    refuse(TypeError, "saved is of type int", plan.forward, *qkv, saved=5 if is_odd else saved)
    plan.forward(*qkv, saved=saved)
    refuse(TypeError, "saved is of type NoneType", plan.backward, None if is_odd else saved, d_o)
    shape = dict(num_tokens=24, num_q_heads=HQ, head_dim=D)
    for name, value, kind in (("masks", "causal", TypeError), ("masks", [], TypeError),
                              ("num_tokens", 2 ** 64 + 24, ValueError),
                              ("num_q_heads", 2 ** 32 + HQ, ValueError),
                              ("head_groups", 2 ** 32, ValueError),
                              ("documents", [0, 1.5], TypeError),
                              ("masks", ulysses.Mask(window=2 ** 64), ValueError)):
        refuse(kind, "", ulysses.Attention, mesh, **{**shape, **({name: value} if is_odd else {})})
    raises(ValueError, "4294967299", ulysses.BlockLayout, 4, [[[0], [1], [2], [2 ** 32 + 3]]])


def check_errors(mesh):
    n = 24
    plan = ulysses.Attention(mesh, num_tokens=n, num_q_heads=HQ, num_kv_heads=HKV, head_dim=D)
    q, k, v, d_o = [np.ascontiguousarray(plan.cut(x)) for x in inputs(n, seed=1)]
    raises(TypeError, "k is of float64, but the plan is of float32", plan.forward, q,
           k.astype(float), v)
    raises(TypeError, "q is of type list", plan.forward, q.tolist(), k, v)
    raises(ValueError, "v has the shape", plan.forward, q, k, v[1:])
    raises(ValueError, "q is not contiguous", plan.forward, np.asfortranarray(q), k, v)
    raises(TypeError, "q is of", plan.forward, q.astype(">f4"), k, v)
    fixed = np.empty_like(q)
    fixed.flags.writeable = False
    raises(ValueError, "out cannot be written to", plan.forward, q, k, v, out=fixed)
    error = raises(ulysses.ConfigError, "mask 1 is asked for, but the plan has 1, counted from 0",
                   plan.forward, q, k, v, mask=1)
    check(error.status == "config" and isinstance(error, ValueError), error.status)
    saved = ulysses.Saved(plan)
    raises(ulysses.ConfigError, "there is no forward for this backward", plan.backward, saved, d_o)
    plan.forward(q, k, v, saved=saved)
    raises(ValueError, "d_o has the shape", plan.backward, saved, k)
    # What one rank alone cannot do fails on all, and all go on.
    kind, text = ulysses.ConfigError, "q is NULL"
    if mesh.rank == 0:
        kind, text = TypeError, "k is of float64"
    raises(kind, text, plan.forward, q, k.astype(float) if mesh.rank == 0 else k, v)
    shape = dict(num_tokens=n, num_q_heads=HQ, head_dim=D)
    kind, masks = ulysses.ConfigError, ulysses.Mask()
    if mesh.rank == 0:
        kind, masks = ValueError, ulysses.Mask("casual")
    raises(kind, "", ulysses.Attention, mesh, masks=masks, **shape)
    kind = ValueError if mesh.rank == 0 else ulysses.ConfigError
    raises(kind, "d_o", plan.backward, saved, d_o[1:] if mesh.rank == 0 else d_o)
    problem = KeyError("rank 0 alone") if mesh.rank == 0 else None
    raises(KeyError if mesh.rank == 0 else ulysses.Error, "rank 0 alone", mesh.agree, problem)
    mesh.agree()
    plan.backward(saved, d_o)
    check_one_rank(mesh, plan, (q, k, v), saved, d_o)
    saved.close()
    raises(ValueError, "the saved state is closed", plan.backward, saved, d_o)
    plan.close()
    plan.close()
    raises(ValueError, "the plan is closed", plan.forward, q, k, v)
    raises(ulysses.ConfigError, "must be a multiple of desc.num_kv_heads, which is 4", ulysses.Attention, mesh,
           num_tokens=n, num_q_heads=6, num_kv_heads=4, head_dim=D)
    raises(ValueError, "one of full, causal", ulysses.Attention, mesh, masks=ulysses.Mask("casual"),
           **shape)


def check_rank_without_tokens(mesh):
    """A rank that holds no token is heard too when it passes something unusable."""
    plan = ulysses.Attention(mesh, num_tokens=1, num_q_heads=HQ, head_dim=D)
    q = np.zeros((plan.num_local_tokens, HQ, D), np.float32)
    wrong = 0 if mesh.size == 1 else [r for r in range(mesh.size) if r != holder(mesh)][0]
    kind = TypeError if mesh.rank == wrong else ulysses.ConfigError
    raises(kind, "", plan.forward, q.astype(float) if mesh.rank == wrong else q, q, q)
    with ulysses.Saved(plan) as saved:
        plan.forward(q, q, q, saved=saved)
        raises(kind, "", plan.backward, saved, q.astype(float) if mesh.rank == wrong else q)


def holder(mesh):
    """Returns the rank that holds the only token of a stream."""
    for rank in range(mesh.size):
        with ulysses.Mesh.offline(rank, sp=mesh.size) as offline:
            plan = ulysses.Attention(offline, num_tokens=1, num_q_heads=HQ, head_dim=D)
            if plan.num_local_tokens:
                return rank
    raise AssertionError("nobody holds the token")


def check_lifetimes(comm):
    """Objects that are dropped in any order, at other times on each rank."""
    mesh = ulysses.Mesh(comm)
    size = mesh.size
    plan = ulysses.Attention(mesh, num_tokens=12, num_q_heads=HQ, num_kv_heads=HKV, head_dim=D)
    saved = ulysses.Saved(plan)
    if mesh.rank == 0:
        del saved
        gc.collect()
    mesh.close()
    mesh.close()
    raises(ValueError, "the mesh is closed", lambda: mesh.rank)
    raises(ulysses.ConfigError, "the mesh was destroyed", ulysses.Saved, plan)
    del mesh, plan
    gc.collect()
    with ulysses.Mesh(comm) as mesh:
        check((mesh.sp, mesh.dp) == (size, 1), "the axes of the mesh")
    forgotten = ulysses.Mesh(comm)  # its end is that of MPI
    del forgotten
    gc.collect()


def check_offline():
    tokens = []
    for rank in range(4):
        with ulysses.Mesh.offline(rank, sp=4) as mesh:
            plan = ulysses.Attention(mesh, num_tokens=10, num_q_heads=HQ, head_dim=D)
            tokens += [t for run in plan.runs for t in range(run.begin, run.begin + run.count)]
            raises(ulysses.ConfigError, "offline mesh", ulysses.Saved, plan)
    check(tokens == list(range(10)), "offline plans hold", tokens)


def part_numpy():
    check_offline()
    mesh = ulysses.Mesh()
    check_values(mesh)
    check_bf16(mesh)
    check_errors(mesh)
    check_rank_without_tokens(mesh)
    check_lifetimes(None)
    mesh.close()


def part_mpi4py():
    need("mpi4py")
    from mpi4py import MPI
    comm = MPI.COMM_WORLD.Split(0, -MPI.COMM_WORLD.rank)  # backwards
    try:
        mesh = ulysses.Mesh(comm)
    except ImportError as error:
        print(f"skipped: {error}")
        sys.exit(77)
    check((mesh.rank, mesh.size) == (comm.rank, comm.size), "rank and size of the communicator")
    raises(ulysses.ConfigError, "", ulysses.Mesh, MPI.COMM_NULL)
    check_values(mesh)
    check_lifetimes(comm)
    each = ulysses.Mesh(MPI.COMM_SELF)
    check(each.sp == 1, "a mesh of one rank")
    mesh.close()


def part_torch():
    torch = need("torch")
    torch.set_num_threads(1)
    from torch.utils.checkpoint import checkpoint
    mesh, n = ulysses.Mesh(), 31
    masks = [ulysses.Mask(), ulysses.Mask("full", window=6)]
    for dtype, tolerance in (("float32", 2e-5), ("bfloat16", 4e-2)):
        plan = ulysses.Attention(mesh, num_tokens=n, num_q_heads=HQ, num_kv_heads=HKV, head_dim=D,
                                 masks=masks, dtype=dtype)
        whole = [torch.from_numpy(x).to(getattr(torch, dtype)) for x in inputs(n, seed=9)]
        mine = [plan.cut(x).clone() for x in whole]

        def run(how):
            """Two layers, one after the other; returns o and the gradients."""
            q, k, v = (x.clone().requires_grad_() for x in mine[:3])
            return how(q, k, v), (q, k, v)

        def layers(q, k, v):
            return ulysses.attention(ulysses.attention(q, k, v, plan), k, v, plan, mask=1)

        q, k, v, d_o = [x.double().numpy() for x in whole]
        seen = [visible(n, mask, None) for mask in masks]
        first = reference(q, k, v, d_o, seen[0], D ** -0.5)
        second = reference(first[0], k, v, d_o, seen[1], D ** -0.5)
        chained = reference(q, k, v, second[2], seen[0], D ** -0.5)
        expected = [second[0], chained[2], chained[3] + second[3], chained[4] + second[4]]
        for how in (layers, lambda *x: checkpoint(layers, *x, use_reentrant=False),
                    lambda *x: checkpoint(layers, *x, use_reentrant=True)):
            o, leaves = run(how)
            o.backward(mine[3])
            got = [o, *(x.grad for x in leaves)]
            for x, y, what in zip(got, expected, ("o", "d_q", "d_k", "d_v")):
                check(x.dtype == getattr(torch, dtype), what, x.dtype)
                close(x.detach().double().numpy(), plan.cut(y), tolerance, f"torch {dtype} {what}")
            # Backward has freed what it needed, although the graph is still there.
            check(len(ulysses._states) == 0, len(ulysses._states), "states are left")
        o, leaves = run(layers)
        check(len(ulysses._states) == 2, "a state for each layer")
        o.backward(mine[3], retain_graph=True)
        once = [x.grad.clone() for x in leaves]
        o.backward(mine[3])
        for x, y in zip(leaves, once):
            close(x.grad.double().numpy(), (2 * y).double().numpy(), tolerance, "the second time")
        raises(RuntimeError, "a second time", o.backward, mine[3])
        o, leaves = run(layers)
        del o
        check(len(ulysses._states) == 0, "a dropped graph leaves states")
        with torch.no_grad():
            o, _ = run(layers)
            check(len(ulysses._states) == 0 and not o.requires_grad, "states without gradients")
            turned = mine[0].transpose(0, 1).contiguous().transpose(0, 1)
            check(torch.equal(ulysses.attention(turned, *mine[1:3], plan),
                              plan.forward(*mine[:3])), "a tensor that is not contiguous")
        wanting = mine[0].clone().requires_grad_()
        raises(ValueError, "q requires a gradient", plan.forward, wanting, *mine[1:3])
        if dtype == "float32":
            raises(TypeError, "q is of float64", plan.forward, mine[0].double(), *mine[1:3])
            raises(TypeError, "q is of float64", ulysses.attention, wanting.double(), *mine[1:3],
                   plan)
    mesh.close()


warnings.simplefilter("error")
{"numpy": part_numpy, "mpi4py": part_mpi4py, "torch": part_torch}[sys.argv[1]]()
print(f"{num_checks} checks")
