! Uses an attention plan in a Fortran program that starts MPI itself, and compares the outputs and
! gradients of the distributed attention with plain attention in double precision, which sees the
! whole stream. 05_attention_fortran.md explains the program.
program attention_fortran
  use mpi_f08
  use ulysses
  implicit none
  integer, parameter :: n = 300, hq = 6, hkv = 2, d = 16, real64 = c_double
  real(c_float) :: whole_q(d, hq, n), whole_k(d, hkv, n), whole_v(d, hkv, n), whole_d_o(d, hq, n)
  real(real64) :: plain_o(d, hq, n), plain_d_q(d, hq, n), plain_d_k(d, hkv, n), plain_d_v(d, hkv, n)
  real(c_float), allocatable, dimension(:, :, :) :: q, k, v, o, d_o, d_q, d_k, d_v
  integer(c_int64_t), target :: documents(2) = [0, 120] ! first tokens, counted from 0
  type(MPI_Comm) :: comm
  type(c_ptr) :: mesh, plan, refused
  type(uly_mask), target :: mask(1)
  type(uly_attention_desc) :: desc
  type(uly_token_run), pointer :: runs(:)
  integer(c_int) :: num_runs, rank, status
  integer(c_int64_t) :: first, last

  call MPI_Init()
  call MPI_Comm_dup(MPI_COMM_WORLD, comm) ! any communicator of the program
  call check(uly_mesh_create_fortran(comm%MPI_VAL, mesh=mesh))

  mask%size = c_sizeof(mask(1))
  mask%kind = ULY_MASK_CAUSAL
  mask%doc_start = c_loc(documents)
  mask%num_docs = size(documents)
  call uly_attention_desc_default(desc, c_sizeof(desc))
  desc%num_tokens = n
  desc%num_q_heads = hq
  desc%num_kv_heads = hkv
  desc%head_dim = d
  desc%masks = c_loc(mask)
  call check(uly_attention_create(mesh, desc, plan))

  ! Compute numbers for the whole stream, the same on all ranks, and take those for my tokens. A
  ! model would compute only the latter.
  call fill(whole_q, 1.0)
  call fill(whole_k, 1.3)
  call fill(whole_v, 1.1)
  call fill(whole_d_o, 0.7)
  call c_f_pointer(uly_attention_tokens(plan, num_runs), runs, [num_runs])
  first = runs(1)%begin + 1
  last = runs(1)%begin + runs(1)%count
  allocate (q, source=whole_q(:, :, first:last))
  allocate (k, source=whole_k(:, :, first:last))
  allocate (v, source=whole_v(:, :, first:last))
  allocate (d_o, source=whole_d_o(:, :, first:last))
  allocate (o, d_q, mold=q)
  allocate (d_k, d_v, mold=k)

  call check(uly_attention_forward(plan, q, k, v, o))
  call check(uly_attention_backward(plan, d_o, d_q, d_k, d_v))

  call plain_attention()
  rank = uly_mesh_rank(mesh)
  if (rank == 0) print '(4(i0, a))', n, ' tokens, ', hq, ' query heads, ', hkv, &
    ' key/value heads of ', d, ' elements'
  call compare('outputs', o, plain_o(:, :, first:last))
  call compare('gradients of queries', d_q, plain_d_q(:, :, first:last))
  call compare('gradients of keys', d_k, plain_d_k(:, :, first:last))
  call compare('gradients of values', d_v, plain_d_v(:, :, first:last))

  ! All ranks get a message that says what is wrong.
  desc%num_kv_heads = 4
  status = uly_attention_create(mesh, desc, refused)
  if (status /= ULY_OK .and. rank == 0) print '(2a)', 'refused: ', uly_error_message()

  call uly_attention_destroy(plan)
  call uly_mesh_destroy(mesh)
  call MPI_Finalize()

contains

  ! Ends the program after a failure. All ranks get the same failure from a collective call.
  subroutine check(status)
    integer(c_int), intent(in) :: status
    if (status == ULY_OK) return
    print '(a)', uly_error_message()
    call MPI_Abort(MPI_COMM_WORLD, uly_status_exit_code(status))
  end subroutine

  subroutine fill(x, frequency)
    real(c_float), intent(out) :: x(:, :, :)
    real, intent(in) :: frequency
    integer :: i
    x = reshape([(sin(frequency * real(i)), i = 0, size(x) - 1)], shape(x))
  end subroutine

  ! Computes O = softmax(Q K^T / sqrt(d)) V, causal and within documents; dV = P^T dO,
  ! dS = P o (dO V^T - row sums of dO o O), dQ = dS K / sqrt(d), dK = dS^T Q / sqrt(d).
  subroutine plain_attention()
    real(real64) :: p(n), d_s, scale, q_i(d), d_o_i(d)
    integer :: head, kv, i, j, begin
    scale = 1 / sqrt(real(d, real64))
    plain_o = 0
    plain_d_q = 0
    plain_d_k = 0
    plain_d_v = 0
    do head = 1, hq
      kv = (head - 1) / (hq / hkv) + 1 ! query heads share key/value heads
      do i = 1, n
        begin = int(maxval(documents, documents < i)) + 1
        q_i = whole_q(:, head, i)
        d_o_i = whole_d_o(:, head, i)
        do j = begin, i
          p(j) = exp(scale * dot_product(q_i, whole_k(:, kv, j)))
        end do
        p(begin:i) = p(begin:i) / sum(p(begin:i))
        plain_o(:, head, i) = matmul(whole_v(:, kv, begin:i), p(begin:i))
        do j = begin, i
          d_s = scale * p(j) * dot_product(d_o_i, whole_v(:, kv, j) - plain_o(:, head, i))
          plain_d_q(:, head, i) = plain_d_q(:, head, i) + d_s * whole_k(:, kv, j)
          plain_d_k(:, kv, j) = plain_d_k(:, kv, j) + d_s * q_i
          plain_d_v(:, kv, j) = plain_d_v(:, kv, j) + p(j) * d_o_i
        end do
      end do
    end do
  end subroutine

  ! Prints whether the results on all ranks agree with plain attention.
  subroutine compare(what, x, plain)
    character(*), intent(in) :: what
    real(c_float), intent(in) :: x(:, :, :)
    real(real64), intent(in) :: plain(:, :, :)
    real(real64) :: difference, most
    difference = maxval(abs(x - plain))
    call MPI_Allreduce(difference, most, 1, MPI_DOUBLE_PRECISION, MPI_MAX, comm)
    if (rank == 0) print '(3a)', what, ' agree with plain attention to 1e-5: ', &
      merge('yes', 'no ', most < 1e-5)
  end subroutine
end program
