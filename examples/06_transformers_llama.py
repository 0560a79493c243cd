"""Runs a Llama from Hugging Face transformers whose attention is distributed over MPI ranks.

Each rank runs the model on its own tokens of the sequence; only attention sees the others. The loss
and the gradients are compared with those of the plain model on the whole sequence.
06_transformers_llama.md explains the program."""

import copy
import sys

import torch
import torch.nn.functional as F
import ulysses
from mpi4py import MPI
from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM

N, VOCAB, NO_LABEL = 509, 257, -100
comm = MPI.COMM_WORLD


def use_ulysses(model, plan):
    """Makes all layers of the model use the plan for their attention."""

    def forward(module, query, key, value, attention_mask, scaling, **rest):
        """Attends for transformers: query is [1, Hq, T, d], key and value are [1, Hkv, T, d]."""
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        return ulysses.attention(q, k, v, plan).unsqueeze(0), None

    AttentionInterface.register("ulysses", forward)
    model.set_attn_implementation("ulysses")


def loss_of(model, tokens, labels, positions, num_labels):
    """Returns what these tokens contribute to the mean loss over all labels."""
    logits = model(input_ids=tokens[None], position_ids=positions[None], use_cache=False).logits[0]
    total = F.cross_entropy(logits.float(), labels, ignore_index=NO_LABEL, reduction="sum")
    return total / num_labels


def gradients_of(model):
    return {name: p.grad for name, p in model.named_parameters()}


# Make the same weights and the same sequence on all ranks.
torch.manual_seed(1)
config = LlamaConfig(vocab_size=VOCAB, hidden_size=96, intermediate_size=200, num_hidden_layers=3,
                     num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=N,
                     attn_implementation="eager")
plain = LlamaForCausalLM(config).float()
mine = copy.deepcopy(plain)
tokens = torch.randint(VOCAB, (N,))

# Labels are shifted, and positions are set, before the sequence is cut.
labels = torch.cat([tokens[1:], torch.tensor([NO_LABEL])])
positions = torch.arange(N)
num_labels = int((labels != NO_LABEL).sum())

# With transformers alone: each rank computes the whole sequence.
plain_loss = loss_of(plain, tokens, labels, positions, num_labels)
plain_loss.backward()

# With the plan: each rank computes its own tokens.
mesh = ulysses.Mesh(comm)
plan = ulysses.Attention(mesh, num_tokens=N, num_q_heads=config.num_attention_heads,
                         num_kv_heads=config.num_key_value_heads, head_dim=config.head_dim,
                         masks=ulysses.Mask("causal"))
use_ulysses(mine, plan)
loss = loss_of(mine, plan.cut(tokens), plan.cut(labels), plan.cut(positions), num_labels)
loss.backward()

# The loss and the gradients are sums over the ranks.
total = comm.allreduce(loss.item())
for gradient in gradients_of(mine).values():
    comm.Allreduce(MPI.IN_PLACE, gradient.numpy())

loss_difference = abs(total - plain_loss.item()) / plain_loss.item()
difference = max(((x - y).abs().max() / y.abs().max()).item()
                 for x, y in zip(gradients_of(mine).values(), gradients_of(plain).values()))
if comm.rank == 0:
    print(f"{sum(p.numel() for p in mine.parameters())} parameters, {N} tokens in one sequence")
    print("loss agrees with transformers to 1e-5:", "yes" if loss_difference < 1e-5 else "no")
    print("gradients agree with transformers to 1e-5:", "yes" if difference < 1e-5 else "no")
    if "--differences" in sys.argv:
        print(f"{comm.size} ranks: loss {loss_difference:.1e}, gradients {difference:.1e}")
plan.close()
mesh.close()
