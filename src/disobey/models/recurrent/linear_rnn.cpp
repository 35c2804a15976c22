// The scan h_t = a_t h_{t-1} + x_t and its adjoint, over contiguous (B, T, D) arrays.
//
// The loop over D is innermost, so the compiler vectorises it, and runs in the direction in which
// time runs through memory: hardware prefetchers lose streams whose rows descend while the elements
// within a row ascend (measured: 2.3 times slower). The running value stays in a small buffer. Work is
// split over batch rows and, when there are fewer rows than threads, over blocks of D.
// No headers and no C++ runtime: the file compiles in well under a second.

typedef long long i64;

static const i64 BLOCK = 1024;  // features a job carries: 8 kB of doubles, a quarter of the first-level cache


static i64 block_width(i64 rows, i64 width, i64 threads) {
    const i64 wanted = rows >= threads || width < 128 ? 1 : (threads + rows - 1) / rows;
    const i64 fitting = (width + BLOCK - 1) / BLOCK;
    const i64 blocks = wanted > fitting ? wanted : fitting;
    i64 block = ((width + blocks - 1) / blocks + 63) / 64 * 64;  // whole cache lines: no false sharing
    return block < width ? block : width;
}

template <typename F>
static void each_block(i64 rows, i64 width, i64 threads, F work) {
    const i64 block = block_width(rows, width, threads);
    const i64 blocks = width ? (width + block - 1) / block : 0;
#ifdef _OPENMP
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
#endif
    for (i64 job = 0; job < rows * blocks; ++job) {
        const i64 first = (job % blocks) * block;
        work(job / blocks, first, first + block < width ? block : width - first);
    }
}

template <bool down, typename F>
static inline void sweep(i64 n, F work) {
    if (down) {
#pragma GCC ivdep
        for (i64 d = n - 1; d >= 0; --d) work(d);
    } else {
#pragma GCC ivdep
        for (i64 d = 0; d < n; ++d) work(d);
    }
}

template <typename T, bool down>
static void forward(const T* a, const T* x, const T* initial, T* h, i64 rows, i64 steps, i64 width,
                    i64 threads) {
    if (!steps) return;
    each_block(rows, width, threads, [=](i64 row, i64 first, i64 n) {
        const i64 stride = down ? -width : width;
        T carry[BLOCK];
        for (i64 d = 0; d < n; ++d) carry[d] = initial ? initial[row * width + first + d] : T(0);
        i64 at = (row * steps + (down ? steps - 1 : 0)) * width + first;
        for (i64 t = 0; t < steps; ++t, at += stride) {
            const T *now_a = a + at, *now_x = x + at;
            T *now_h = h + at, *last = carry;
            sweep<down>(n, [=](i64 d) { now_h[d] = last[d] = now_a[d] * last[d] + now_x[d]; });
        }
    });
}

// dx_t = g_t + a_{t+1} dx_{t+1};  da_t = dx_t h_{t-1};  dh_{-1} = a_0 dx_0.
// `down` is the direction of the forward pass in memory.
template <typename T, bool down>
static void backward(const T* a, const T* h, const T* initial, const T* g, T* da, T* dx, T* dinitial,
                     i64 rows, i64 steps, i64 width, i64 threads) {
    if (!steps) return;
    each_block(rows, width, threads, [=](i64 row, i64 first, i64 n) {
        const i64 stride = down ? -width : width;
        T carry[BLOCK], zeros[BLOCK];
        for (i64 d = 0; d < n; ++d) carry[d] = zeros[d] = 0;
        i64 at = (row * steps + (down ? 0 : steps - 1)) * width + first;
        for (i64 t = steps - 1; t >= 0; --t, at -= stride) {
            const T* before = initial ? initial + row * width + first : zeros;
            const T *now_a = a + at, *now_g = g + at, *last_h = t ? h + at - stride : before;
            T *now_dx = dx + at, *now_da = da + at, *next = carry;
            sweep<!down>(n, [=](i64 d) {
                const T adjoint = now_g[d] + next[d];
                now_dx[d] = adjoint;
                now_da[d] = adjoint * last_h[d];
                next[d] = now_a[d] * adjoint;
            });
        }
        if (initial)
            for (i64 d = 0; d < n; ++d) dinitial[row * width + first + d] = carry[d];
    });
}

#define EXPORT(T)                                                                                      \
    extern "C" void forward_##T(const T* a, const T* x, const T* h0, T* h, i64 rows, i64 steps,        \
                                i64 width, i64 reverse, i64 threads) {                                 \
        if (reverse) forward<T, true>(a, x, h0, h, rows, steps, width, threads);                       \
        else forward<T, false>(a, x, h0, h, rows, steps, width, threads);                              \
    }                                                                                                  \
    extern "C" void backward_##T(const T* a, const T* h, const T* h0, const T* g, T* da, T* dx,        \
                                 T* dh0, i64 rows, i64 steps, i64 width, i64 reverse, i64 threads) {   \
        if (reverse) backward<T, true>(a, h, h0, g, da, dx, dh0, rows, steps, width, threads);         \
        else backward<T, false>(a, h, h0, g, da, dx, dh0, rows, steps, width, threads);                \
    }

EXPORT(float)
EXPORT(double)
