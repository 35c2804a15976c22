// The walk h_t = gate_t A_t h_{t-1} + drive_t through products of reflections, and its adjoint.
//
// A_t applies R factors I - s u u' in each of H heads of n dimensions, first factor first; u is a key divided by its
// norm. Arrays are contiguous with the heads innermost: keys (B, T, R, n, H), strengths (B, T, R, H), gates (B, T, H),
// drive and states (B, T, n, H). So every inner loop runs over heads, in lock step, and the compiler vectorises it
// whatever n and R are. The state of a batch row (n H numbers) never leaves the first-level cache.
//
// The adjoint keeps nothing but the states after every token: what stands between the R factors is computed again from
// the state before, in cache. Keys are read once in each direction, which is the least that must be.
// No headers and no C++ runtime: the file compiles in a second.

typedef long long i64;

static const i64 LARGEST = 4096;  // numbers of state in a row, n H
static const i64 WORK = 16384;    // and states between factors, (R + 1) n H: `reflection_walk.fits` asks first

static inline float root(float x) { return __builtin_sqrtf(x); }
static inline double root(double x) { return __builtin_sqrt(x); }

#define EACH_HEAD for (i64 h = 0; h < H; ++h)

// One factor's unit vectors, inverse norms (0 where the key is shorter than eps) and dots with the state.
template <typename T>
static inline void look(const T* key, const T* state, T* unit, T* inverse, T* dot, i64 n, i64 H, T eps) {
    EACH_HEAD inverse[h] = 0;
    for (i64 d = 0; d < n; ++d)
        EACH_HEAD inverse[h] += key[d * H + h] * key[d * H + h];
    EACH_HEAD {
        const T norm = root(inverse[h]);
        inverse[h] = T(1) / (norm > eps ? norm : eps);
        dot[h] = 0;
    }
    for (i64 d = 0; d < n; ++d)
        EACH_HEAD {
            unit[d * H + h] = key[d * H + h] * inverse[h];
            dot[h] += unit[d * H + h] * state[d * H + h];
        }
}

template <typename T>
static void forward(const T* keys, const T* strengths, const T* gates, const T* drive, const T* first, T* states, i64 B,
                    i64 S, i64 R, i64 n, i64 H, i64 threads, T eps) {
    const i64 D = n * H;
#ifdef _OPENMP
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
#endif
    for (i64 b = 0; b < B; ++b) {
        T state[LARGEST], unit[LARGEST], inverse[LARGEST], dot[LARGEST];
        for (i64 d = 0; d < D; ++d) state[d] = first[b * D + d];
        for (i64 t = 0; t < S; ++t) {
            const i64 at = b * S + t;
            for (i64 r = 0; r < R; ++r) {
                look(keys + (at * R + r) * D, state, unit, inverse, dot, n, H, eps);
                if (strengths) EACH_HEAD dot[h] *= strengths[(at * R + r) * H + h];
                else EACH_HEAD dot[h] *= T(2);
                for (i64 d = 0; d < n; ++d) EACH_HEAD state[d * H + h] -= dot[h] * unit[d * H + h];
            }
            if (gates)
                for (i64 d = 0; d < n; ++d) EACH_HEAD state[d * H + h] *= gates[at * H + h];
            if (drive)
                for (i64 d = 0; d < D; ++d) state[d] += drive[at * D + d];
            for (i64 d = 0; d < D; ++d) states[at * D + d] = state[d];
        }
    }
}

// With p = A h before the gate: dgate = g . p, and through one factor h' = h - s (u.h) u:
//   du = -s [(u.h) g + (u.g) h],  ds = -(u.h)(u.g),  g = g - s (u.g) u,  dkey = (du - (u.du) u) / |key|.
template <typename T>
static void backward(const T* keys, const T* strengths, const T* gates, const T* first, const T* states, const T* grad,
                     T* dkeys, T* dstrengths, T* dgates, T* ddrive, T* dfirst, i64 B, i64 S, i64 R, i64 n, i64 H,
                     i64 threads, T eps) {
    const i64 D = n * H;
#ifdef _OPENMP
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
#endif
    for (i64 b = 0; b < B; ++b) {
        // the states before each factor, its units, inverse norms and dots
        T seen[WORK], units[WORK], inverses[WORK], dots[WORK];
        T carry[LARGEST], along[LARGEST], inner[LARGEST];
        for (i64 d = 0; d < D; ++d) carry[d] = 0;
        for (i64 t = S - 1; t >= 0; --t) {
            const i64 at = b * S + t;
            const T* before = t ? states + (at - 1) * D : first + b * D;
            for (i64 d = 0; d < D; ++d) seen[d] = before[d];
            for (i64 r = 0; r < R; ++r) {
                T* now = seen + r * D;
                look(keys + (at * R + r) * D, now, units + r * D, inverses + r * H, dots + r * H, n, H, eps);
                T* next = seen + (r + 1) * D;
                const T *u = units + r * D, *dot = dots + r * H;
                for (i64 d = 0; d < n; ++d)
                    EACH_HEAD {
                        const T s = strengths ? strengths[(at * R + r) * H + h] : T(2);
                        next[d * H + h] = now[d * H + h] - s * dot[h] * u[d * H + h];
                    }
            }
            for (i64 d = 0; d < D; ++d) carry[d] += grad[at * D + d];
            if (ddrive)
                for (i64 d = 0; d < D; ++d) ddrive[at * D + d] = carry[d];
            if (gates) {
                const T* product = seen + R * D;
                EACH_HEAD along[h] = 0;
                for (i64 d = 0; d < n; ++d)
                    EACH_HEAD {
                        along[h] += carry[d * H + h] * product[d * H + h];
                        carry[d * H + h] *= gates[at * H + h];
                    }
                EACH_HEAD dgates[at * H + h] = along[h];
            }
            for (i64 r = R - 1; r >= 0; --r) {
                const T *u = units + r * D, *now = seen + r * D, *dot = dots + r * H, *inverse = inverses + r * H;
                T* dkey = dkeys + (at * R + r) * D;
                EACH_HEAD along[h] = inner[h] = 0;
                for (i64 d = 0; d < n; ++d) EACH_HEAD along[h] += u[d * H + h] * carry[d * H + h];
                // u . du = -2 s (u.h)(u.g)
                EACH_HEAD {
                    const T s = strengths ? strengths[(at * R + r) * H + h] : T(2);
                    if (dstrengths) dstrengths[(at * R + r) * H + h] = -dot[h] * along[h];
                    inner[h] = -2 * s * dot[h] * along[h];
                }
                for (i64 d = 0; d < n; ++d)
                    EACH_HEAD {
                        const T s = strengths ? strengths[(at * R + r) * H + h] : T(2);
                        const T du = -s * (dot[h] * carry[d * H + h] + along[h] * now[d * H + h]);
                        // a key shorter than eps is not normalized: its unit is key / eps, which has no inner part
                        const T clipped = inverse[h] * eps >= T(1) ? T(0) : inner[h];
                        dkey[d * H + h] = (du - clipped * u[d * H + h]) * inverse[h];
                        carry[d * H + h] -= s * along[h] * u[d * H + h];
                    }
            }
        }
        for (i64 d = 0; d < D; ++d) dfirst[b * D + d] = carry[d];
    }
}

#define EXPORT(T)                                                                                                      \
    extern "C" void forward_##T(const T* keys, const T* strengths, const T* gates, const T* drive, const T* first,     \
                                T* states, i64 B, i64 S, i64 R, i64 n, i64 H, i64 threads) {                           \
        forward<T>(keys, strengths, gates, drive, first, states, B, S, R, n, H, threads, T(1e-6));                     \
    }                                                                                                                  \
    extern "C" void backward_##T(const T* keys, const T* strengths, const T* gates, const T* first, const T* states,   \
                                 const T* grad, T* dkeys, T* dstrengths, T* dgates, T* ddrive, T* dfirst, i64 B,       \
                                 i64 S, i64 R, i64 n, i64 H, i64 threads) {                                            \
        backward<T>(keys, strengths, gates, first, states, grad, dkeys, dstrengths, dgates, ddrive, dfirst, B, S, R,   \
                    n, H, threads, T(1e-6));                                                                           \
    }

EXPORT(float)
EXPORT(double)
