! Declares attention over a sequence that is distributed over MPI ranks: sections 1, 2 and 7 of
! ulysses.h, which explains each function. Compile this file with your own compiler, and link
! libulysses:
!
!   module=$(pkg-config --variable=fortrandir ulysses)/ulysses.f90
!   gfortran $module program.f90 $(pkg-config --libs ulysses)
!
!   use ulysses
!   type(uly_mask), target :: mask(1)
!   type(uly_attention_desc) :: desc
!   status = uly_init()
!   status = uly_mesh_create(mesh=mesh)                       ! all processes share one sequence
!   status = uly_mesh_create_fortran(comm%MPI_VAL, mesh=mesh) ! or those of a communicator
!   mask%size = c_sizeof(mask(1))
!   mask%kind = ULY_MASK_CAUSAL
!   call uly_attention_desc_default(desc, c_sizeof(desc))     ! sets size, and all others to 0
!   desc%num_tokens = 65536
!   ...
!   desc%masks = c_loc(mask)
!   status = uly_attention_create(mesh, desc, plan)
!   status = uly_attention_forward(plan, q, k, v, o)
!
! Dimensions are in the reverse of C's order: q and o are (d, Hq, T), and k and v are (d, Hkv, T).
! Tensors are arrays of any rank, whose elements are real(c_float), or the 16 bits of a bfloat16 as
! integer(c_int16_t). Tokens and heads are counted from 0, as in C. Objects (meshes, plans, saved
! states) are type(c_ptr).
!
! uly_fail is missing, because it takes a variable number of arguments: a callback fails by
! returning a status.
module ulysses
  use, intrinsic :: iso_c_binding
  implicit none
  public

  ! ------------------------------------------------------------------------ enumerations

  enum, bind(c) ! uly_status
    enumerator :: ULY_OK = 0, ULY_ERR_CONFIG = 1, ULY_ERR_DATA = 2, ULY_ERR_IO = 3, &
      ULY_ERR_MEMORY = 4, ULY_ERR_COMM = 5, ULY_ERR_NONFINITE = 6, ULY_ERR_INTERNAL = 7
  end enum
  enum, bind(c) ! uly_dtype
    enumerator :: ULY_F32 = 0, ULY_BF16 = 1, ULY_F16 = 2
  end enum
  enum, bind(c) ! uly_mask_kind
    enumerator :: ULY_MASK_FULL = 0, ULY_MASK_CAUSAL = 1
  end enum
  enum, bind(c) ! uly_sparse_pattern
    enumerator :: ULY_SPARSE_NONE = 0, ULY_SPARSE_LONGFORMER = 1, ULY_SPARSE_STRIDED = 2, &
      ULY_SPARSE_FIXED = 3, ULY_SPARSE_BIGBIRD = 4
  end enum
  enum, bind(c) ! uly_traffic
    enumerator :: ULY_TRAFFIC_ATTENTION_FORWARD = 0, ULY_TRAFFIC_ATTENTION_BACKWARD = 1, &
      ULY_TRAFFIC_ATTENTION_RECOMPUTE = 2, ULY_TRAFFIC_GRADIENTS = 3, ULY_TRAFFIC_PARAMETERS = 4, &
      ULY_TRAFFIC_CONTROL = 5, ULY_TRAFFIC_KEYS_FORWARD = 6, ULY_TRAFFIC_KEYS_BACKWARD = 7, &
      ULY_TRAFFIC_KEYS_RECOMPUTE = 8, &
      ULY_TRAFFIC_TENSOR_FORWARD = 9, ULY_TRAFFIC_TENSOR_BACKWARD = 10, &
      ULY_TRAFFIC_TENSOR_RECOMPUTE = 11, &
      ULY_TRAFFIC_PIPELINE_FORWARD = 12, ULY_TRAFFIC_PIPELINE_BACKWARD = 13
  end enum

  ! ----------------------------------------------------------------------------- structs

  ! Extents of the axes; for each of them, 0 stands for the default.
  type, bind(c) :: uly_mesh_desc
    integer(c_size_t) :: size = 0
    integer(c_int) :: dp = 0
    integer(c_int) :: sp = 0
    integer(c_int) :: ulysses = 0
    integer(c_int) :: ring = 0
    integer(c_int) :: tp = 0
    integer(c_int) :: pp = 0
    integer(c_int) :: gather = 0
  end type

  type, bind(c) :: uly_sparse
    integer(c_int) :: pattern = ULY_SPARSE_NONE
    integer(c_int64_t) :: block = 0
    integer(c_int64_t) :: local = 0
    integer(c_int64_t) :: global = 0
    integer(c_int64_t) :: random = 0
    integer(c_int64_t) :: seed = 0
    integer(c_int64_t) :: reserved(4) = 0
  end type

  type, bind(c) :: uly_machine
    integer(c_size_t) :: size = 0
    integer(c_int64_t) :: memory = 0
    integer(c_int64_t) :: available = 0
    integer(c_int64_t) :: memory_limit = 0
    integer(c_int64_t) :: cpu_quota = 0
    integer(c_int) :: hardware_threads = 0
    integer(c_int) :: allowed_threads = 0
    integer(c_int) :: ranks = 0
    integer(c_int) :: threads = 0
    integer(c_int) :: multiplies_bf16 = 0
    integer(c_int) :: hides_amx = 0
    character(kind=c_char) :: kernels(16) = c_null_char
    character(kind=c_char) :: best_kernels(16) = c_null_char
    character(kind=c_char) :: products(32) = c_null_char
    character(kind=c_char) :: unused(16) = c_null_char
  end type

  type, bind(c) :: uly_block_layout
    integer(c_size_t) :: size = 0
    integer(c_int64_t) :: block = 0
    integer(c_int64_t) :: num_blocks = 0
    integer(c_int) :: num_layouts = 0
    type(c_ptr) :: row_begin = c_null_ptr ! of integer(c_int64_t)
    type(c_ptr) :: cols = c_null_ptr      ! of integer(c_int32_t)
  end type

  type, bind(c) :: uly_mask
    integer(c_size_t) :: size = 0
    integer(c_int) :: kind = ULY_MASK_FULL
    integer(c_int64_t) :: window = 0
    type(c_ptr) :: doc_start = c_null_ptr ! of integer(c_int64_t)
    integer(c_int64_t) :: num_docs = 0
    type(c_ptr) :: blocks = c_null_ptr    ! of a uly_block_layout
  end type

  ! Its procedures have the interface uly_local_attention_procedure.
  type, bind(c) :: uly_attention_callback
    type(c_funptr) :: forward = c_null_funptr
    type(c_funptr) :: backward = c_null_funptr
    type(c_ptr) :: user = c_null_ptr
  end type

  type, bind(c) :: uly_attention_desc
    integer(c_size_t) :: size = 0
    integer(c_int64_t) :: num_tokens = 0
    integer(c_int) :: num_q_heads = 0
    integer(c_int) :: num_kv_heads = 0
    integer(c_int) :: head_dim = 0
    integer(c_int) :: dtype = ULY_F32
    type(c_ptr) :: masks = c_null_ptr     ! of uly_mask
    integer(c_int) :: num_masks = 0
    real(c_float) :: scale = 0
    integer(c_int64_t) :: token_tile = 0
    integer(c_int64_t) :: max_docs = 0
    integer(c_int) :: head_groups = 0
    type(uly_attention_callback) :: callback
  end type

  ! Tokens begin .. begin + count - 1 of the stream, counted from 0.
  type, bind(c) :: uly_token_run
    integer(c_int64_t) :: begin = 0
    integer(c_int64_t) :: count = 0
  end type

  type, bind(c) :: uly_attention_block
    integer(c_size_t) :: size = 0
    integer(c_int) :: q_begin = 0
    integer(c_int) :: q_count = 0
    integer(c_int) :: kv_begin = 0
    integer(c_int) :: kv_count = 0
    integer(c_int) :: kv_shared = 0
    integer(c_int64_t) :: qkv_offset = 0
    integer(c_int64_t) :: o_offset = 0
    integer(c_int64_t) :: qkv_stride = 0
    integer(c_int64_t) :: o_stride = 0
    integer(c_int64_t) :: qkv_heads_offset = 0
    integer(c_int64_t) :: o_heads_offset = 0
  end type

  type, bind(c) :: uly_attention_bytes
    integer(c_size_t) :: size = 0
    integer(c_int64_t) :: qkv_tokens = 0
    integer(c_int64_t) :: qkv_heads = 0
    integer(c_int64_t) :: o_tokens = 0
    integer(c_int64_t) :: o_heads = 0
    integer(c_int64_t) :: softmax = 0
    integer(c_int64_t) :: workspace = 0
  end type

  type, bind(c) :: uly_local_attention
    integer(c_size_t) :: size = 0
    integer(c_int64_t) :: num_tokens = 0
    integer(c_int) :: num_q_heads = 0
    integer(c_int) :: num_kv_heads = 0
    integer(c_int) :: head_dim = 0
    integer(c_int) :: first_q_head = 0
    integer(c_int) :: group_size = 0
    integer(c_int) :: group_offset = 0
    integer(c_int) :: dtype = ULY_F32
    type(c_ptr) :: mask = c_null_ptr      ! of a uly_mask
    real(c_float) :: scale = 0
    integer(c_int64_t) :: qkv_stride = 0
    integer(c_int64_t) :: o_stride = 0
    type(c_ptr) :: q = c_null_ptr
    type(c_ptr) :: k = c_null_ptr
    type(c_ptr) :: v = c_null_ptr
    type(c_ptr) :: o = c_null_ptr
    type(c_ptr) :: lse = c_null_ptr
    type(c_ptr) :: d_o = c_null_ptr
    type(c_ptr) :: d_q = c_null_ptr
    type(c_ptr) :: d_k = c_null_ptr
    type(c_ptr) :: d_v = c_null_ptr
    type(c_funptr) :: poll = c_null_funptr
    type(c_ptr) :: poll_context = c_null_ptr
  end type

  abstract interface
    function uly_local_attention_procedure(user, args) bind(c) result(status)
      import :: c_ptr, c_int, uly_local_attention
      type(c_ptr), value :: user
      type(uly_local_attention), intent(in) :: args
      integer(c_int) :: status
    end function
  end interface

  interface

    ! --------------------------------------------------------------------------- status

    ! Programs use uly_error_message, which is below.
    function uly_last_error() bind(c) result(text)
      import :: c_ptr
      type(c_ptr) :: text
    end function

    function uly_status_name(status) bind(c) result(name)
      import :: c_ptr, c_int
      integer(c_int), value :: status
      type(c_ptr) :: name
    end function

    function uly_status_exit_code(status) bind(c) result(code)
      import :: c_int
      integer(c_int), value :: status
      integer(c_int) :: code
    end function

    ! handler: the address of a procedure that takes user and message, both as type(c_ptr), value.
    subroutine uly_warning_set_handler(handler, user) bind(c)
      import :: c_funptr, c_ptr
      type(c_funptr), value :: handler
      type(c_ptr), value :: user
    end subroutine

    ! ------------------------------------------------------------------- start and mesh

    function uly_init(argc, argv) bind(c) result(status)
      import :: c_int, c_ptr
      integer(c_int), intent(inout), optional :: argc
      type(c_ptr), intent(inout), optional :: argv
      integer(c_int) :: status
    end function

    subroutine uly_finalize() bind(c)
    end subroutine

    subroutine uly_abort(exit_code) bind(c)
      import :: c_int
      integer(c_int), value :: exit_code
    end subroutine

    function uly_world_size() bind(c) result(num)
      import :: c_int
      integer(c_int) :: num
    end function

    function uly_world_rank() bind(c) result(rank)
      import :: c_int
      integer(c_int) :: rank
    end function

    function uly_kernels_name() bind(c) result(name)
      import :: c_ptr
      type(c_ptr) :: name
    end function

    subroutine uly_mesh_desc_default(desc, size) bind(c)
      import :: c_size_t, uly_mesh_desc
      type(uly_mesh_desc), intent(out) :: desc
      integer(c_size_t), value :: size
    end subroutine

    function uly_mesh_create(desc, mesh) bind(c) result(status)
      import :: c_int, c_ptr, uly_mesh_desc
      type(uly_mesh_desc), intent(in), optional :: desc
      type(c_ptr), intent(out) :: mesh
      integer(c_int) :: status
    end function

    ! comm: comm%MPI_VAL with mpi_f08; the integer itself with mpi and mpif.h.
    function uly_mesh_create_fortran(comm, desc, mesh) bind(c) result(status)
      import :: c_int, c_ptr, uly_mesh_desc
      integer(c_int), value :: comm
      type(uly_mesh_desc), intent(in), optional :: desc
      type(c_ptr), intent(out) :: mesh
      integer(c_int) :: status
    end function

    function uly_mesh_create_offline(desc, rank, mesh) bind(c) result(status)
      import :: c_int, c_ptr, uly_mesh_desc
      type(uly_mesh_desc), intent(in), optional :: desc
      integer(c_int), value :: rank
      type(c_ptr), intent(out) :: mesh
      integer(c_int) :: status
    end function

    subroutine uly_mesh_destroy(mesh) bind(c)
      import :: c_ptr
      type(c_ptr), value :: mesh
    end subroutine

    function uly_mesh_rank(mesh) bind(c) result(rank)
      import :: c_int, c_ptr
      type(c_ptr), value :: mesh
      integer(c_int) :: rank
    end function

    function uly_mesh_size(mesh) bind(c) result(num)
      import :: c_int, c_ptr
      type(c_ptr), value :: mesh
      integer(c_int) :: num
    end function

    function uly_mesh_dp(mesh) bind(c) result(num)
      import :: c_int, c_ptr
      type(c_ptr), value :: mesh
      integer(c_int) :: num
    end function

    function uly_mesh_sp(mesh) bind(c) result(num)
      import :: c_int, c_ptr
      type(c_ptr), value :: mesh
      integer(c_int) :: num
    end function

    function uly_mesh_ulysses(mesh) bind(c) result(num)
      import :: c_int, c_ptr
      type(c_ptr), value :: mesh
      integer(c_int) :: num
    end function

    function uly_mesh_ring(mesh) bind(c) result(num)
      import :: c_int, c_ptr
      type(c_ptr), value :: mesh
      integer(c_int) :: num
    end function

    function uly_mesh_gather(mesh) bind(c) result(num)
      import :: c_int, c_ptr
      type(c_ptr), value :: mesh
      integer(c_int) :: num
    end function

    function uly_mesh_tp(mesh) bind(c) result(num)
      import :: c_int, c_ptr
      type(c_ptr), value :: mesh
      integer(c_int) :: num
    end function

    function uly_mesh_pp(mesh) bind(c) result(num)
      import :: c_int, c_ptr
      type(c_ptr), value :: mesh
      integer(c_int) :: num
    end function

    function uly_mesh_dp_index(mesh) bind(c) result(index)
      import :: c_int, c_ptr
      type(c_ptr), value :: mesh
      integer(c_int) :: index
    end function

    function uly_mesh_pp_index(mesh) bind(c) result(index)
      import :: c_int, c_ptr
      type(c_ptr), value :: mesh
      integer(c_int) :: index
    end function

    function uly_machine_look(mesh, machine) bind(c) result(status)
      import :: c_int, c_ptr, uly_machine
      type(c_ptr), value :: mesh
      type(uly_machine), intent(inout) :: machine
      integer(c_int) :: status
    end function

    function uly_mesh_threads(mesh) bind(c) result(num)
      import :: c_int, c_ptr
      type(c_ptr), value :: mesh
      integer(c_int) :: num
    end function

    function uly_mesh_agree(mesh, status) bind(c) result(agreed)
      import :: c_int, c_ptr
      type(c_ptr), value :: mesh
      integer(c_int), value :: status
      integer(c_int) :: agreed
    end function

    ! what: text that ends with c_null_char.
    function uly_mesh_same(mesh, bytes, count, what) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t, c_char
      type(c_ptr), value :: mesh
      type(*), dimension(*), intent(in) :: bytes
      integer(c_size_t), value :: count
      character(kind=c_char), dimension(*), intent(in) :: what
      integer(c_int) :: status
    end function

    ! ------------------------------------------------------------------------ attention

    subroutine uly_attention_desc_default(desc, size) bind(c)
      import :: c_size_t, uly_attention_desc
      type(uly_attention_desc), intent(out) :: desc
      integer(c_size_t), value :: size
    end subroutine

    function uly_attention_create(mesh, desc, plan) bind(c) result(status)
      import :: c_int, c_ptr, uly_attention_desc
      type(c_ptr), value :: mesh
      type(uly_attention_desc), intent(in) :: desc
      type(c_ptr), intent(out) :: plan
      integer(c_int) :: status
    end function

    subroutine uly_attention_destroy(plan) bind(c)
      import :: c_ptr
      type(c_ptr), value :: plan
    end subroutine

    ! Usage: call c_f_pointer(uly_attention_tokens(plan, num_runs), runs, [num_runs])
    function uly_attention_tokens(plan, num_runs) bind(c) result(runs)
      import :: c_int, c_ptr
      type(c_ptr), value :: plan
      integer(c_int), intent(out), optional :: num_runs
      type(c_ptr) :: runs
    end function

    function uly_attention_set_documents(plan, doc_start, num_docs) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr
      type(c_ptr), value :: plan
      integer(c_int64_t), dimension(*), intent(in), optional :: doc_start
      integer(c_int64_t), value :: num_docs
      integer(c_int) :: status
    end function

    function uly_attention_pairs(plan, mask) bind(c) result(pairs)
      import :: c_int, c_double, c_ptr
      type(c_ptr), value :: plan
      integer(c_int), value :: mask
      real(c_double) :: pairs
    end function

    function uly_attention_forward(plan, q, k, v, o) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: plan
      type(*), dimension(*), intent(in) :: q, k, v
      type(*), dimension(*), intent(inout) :: o
      integer(c_int) :: status
    end function

    function uly_attention_backward(plan, d_o, d_q, d_k, d_v) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: plan
      type(*), dimension(*), intent(in) :: d_o
      type(*), dimension(*), intent(inout) :: d_q, d_k, d_v
      integer(c_int) :: status
    end function

    function uly_attention_saved_create(plan, saved) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: plan
      type(c_ptr), intent(out) :: saved
      integer(c_int) :: status
    end function

    subroutine uly_attention_saved_destroy(saved) bind(c)
      import :: c_ptr
      type(c_ptr), value :: saved
    end subroutine

    ! lse: (Hq, T). saved: c_null_ptr if nothing should be kept.
    function uly_attention_forward_layer(plan, mask, q, k, v, o, lse, saved) bind(c) result(status)
      import :: c_int, c_float, c_ptr
      type(c_ptr), value :: plan
      integer(c_int), value :: mask
      type(*), dimension(*), intent(in) :: q, k, v
      type(*), dimension(*), intent(inout) :: o
      real(c_float), dimension(*), intent(inout), optional :: lse
      type(c_ptr), value :: saved
      integer(c_int) :: status
    end function

    function uly_attention_backward_layer(plan, saved, d_o, d_q, d_k, d_v) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: plan
      type(c_ptr), value :: saved
      type(*), dimension(*), intent(in) :: d_o
      type(*), dimension(*), intent(inout) :: d_q, d_k, d_v
      integer(c_int) :: status
    end function

    ! Explicit: the zero-copy buffers.

    function uly_attention_num_blocks(plan) bind(c) result(num)
      import :: c_int, c_ptr
      type(c_ptr), value :: plan
      integer(c_int) :: num
    end function

    ! Set block%size before the call.
    function uly_attention_get_block(plan, index, block) bind(c) result(status)
      import :: c_int, c_ptr, uly_attention_block
      type(c_ptr), value :: plan
      integer(c_int), value :: index
      type(uly_attention_block), intent(inout) :: block
      integer(c_int) :: status
    end function

    ! Set bytes%size before the call.
    function uly_attention_get_bytes(plan, bytes) bind(c) result(status)
      import :: c_int, c_ptr, uly_attention_bytes
      type(c_ptr), value :: plan
      type(uly_attention_bytes), intent(inout) :: bytes
      integer(c_int) :: status
    end function

    function uly_attention_share_kv(plan, qkv_tokens) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: plan
      type(*), dimension(*), intent(inout) :: qkv_tokens
      integer(c_int) :: status
    end function

    function uly_attention_sum_kv(plan, d_qkv_tokens) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: plan
      type(*), dimension(*), intent(inout) :: d_qkv_tokens
      integer(c_int) :: status
    end function

    function uly_attention_qkv_to_heads(plan, kind, qkv_tokens, qkv_heads) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: plan
      integer(c_int), value :: kind
      type(*), dimension(*), intent(in) :: qkv_tokens
      type(*), dimension(*), intent(inout) :: qkv_heads
      integer(c_int) :: status
    end function

    function uly_attention_qkv_to_tokens(plan, kind, qkv_heads, qkv_tokens) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: plan
      integer(c_int), value :: kind
      type(*), dimension(*), intent(in) :: qkv_heads
      type(*), dimension(*), intent(inout) :: qkv_tokens
      integer(c_int) :: status
    end function

    function uly_attention_o_to_heads(plan, kind, o_tokens, o_heads) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: plan
      integer(c_int), value :: kind
      type(*), dimension(*), intent(in) :: o_tokens
      type(*), dimension(*), intent(inout) :: o_heads
      integer(c_int) :: status
    end function

    function uly_attention_o_to_tokens(plan, kind, o_heads, o_tokens) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: plan
      integer(c_int), value :: kind
      type(*), dimension(*), intent(in) :: o_heads
      type(*), dimension(*), intent(inout) :: o_tokens
      integer(c_int) :: status
    end function

    function uly_attention_local_forward(plan, mask, qkv_heads, o_heads, softmax) bind(c) &
        result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: plan
      integer(c_int), value :: mask
      type(*), dimension(*), intent(in) :: qkv_heads
      type(*), dimension(*), intent(inout) :: o_heads, softmax
      integer(c_int) :: status
    end function

    function uly_attention_local_backward(plan, mask, qkv_heads, o_heads, softmax, d_o_heads, &
        d_qkv_heads, workspace) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: plan
      integer(c_int), value :: mask
      type(*), dimension(*), intent(in) :: qkv_heads, o_heads, softmax
      type(*), dimension(*), intent(in) :: d_o_heads
      type(*), dimension(*), intent(inout) :: d_qkv_heads, workspace
      integer(c_int) :: status
    end function

    ! Block-sparse layouts.

    function uly_sparse_local(sparse, num_tokens) bind(c) result(local)
      import :: c_int64_t, uly_sparse
      type(uly_sparse), intent(in) :: sparse
      integer(c_int64_t), value :: num_tokens
      integer(c_int64_t) :: local
    end function

    ! layout: the address of a uly_block_layout, which a mask points to.
    function uly_block_layout_create(sparse, kind, num_tokens, num_layouts, layout) &
        bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr, uly_sparse
      type(uly_sparse), intent(in) :: sparse
      integer(c_int), value :: kind
      integer(c_int64_t), value :: num_tokens
      integer(c_int), value :: num_layouts
      type(c_ptr), intent(out) :: layout
      integer(c_int) :: status
    end function

    subroutine uly_block_layout_destroy(layout) bind(c)
      import :: c_ptr
      type(c_ptr), value :: layout
    end subroutine
  end interface

contains

  ! Returns the message of the last failure.
  function uly_error_message() result(text)
    character(len=:), allocatable :: text
    text = uly_text(uly_last_error())
  end function

  ! Converts a C string from the library, as in uly_text(uly_status_name(status)).
  function uly_text(address) result(text)
    type(c_ptr), intent(in) :: address
    character(len=:), allocatable :: text
    character(kind=c_char), pointer :: characters(:)
    integer :: length
    interface
      function strlen(address) bind(c) result(length)
        import :: c_ptr, c_size_t
        type(c_ptr), value :: address
        integer(c_size_t) :: length
      end function
    end interface
    call c_f_pointer(address, characters, [strlen(address)])
    allocate (character(len=size(characters)) :: text)
    do length = 1, size(characters)
      text(length:length) = characters(length)
    end do
  end function
end module ulysses
