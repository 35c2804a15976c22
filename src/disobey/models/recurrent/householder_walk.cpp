// One step of the exact walk of a fixed-point layer with R Householder factors, and its adjoint.
//
// With w = h - u (u the drive) a step solves  w = v + g * (w - Q w),  v = a * (h_before - u),  g = 1 - a,  where
// Q = Q_1 ... Q_R, Q_i = I - s_i k_i k_i'. In the compact form Q = I - sum_i l_i k_i' this is one R x R system.
// The adjoint solves its transpose and then goes through the factors one by one, where gradients are simple: with
// x_R = w, x_{i-1} = Q_i x_i, p_i = k_i . x_i and the adjoint b of x_{i-1}, q_i = k_i . b:
//   ds_i = -p_i q_i,  dk_i = -s_i (p_i b + q_i x_i),  b = b - s_i q_i k_i.
// Nothing is kept between the two passes but the states. Arrays are contiguous: decay, drive, states (B, T, D),
// features (B, T, R D + R), keys first. Rows are independent. No headers and no C++ runtime.

typedef long long i64;

static const i64 FACTORS = 16;  // most R, and most R D: `householder_walk.fits` asks first
static const i64 WORK = 8192;

static inline float root(float x) { return __builtin_sqrtf(x); }
static inline double root(double x) { return __builtin_sqrt(x); }
static inline float sigmoid(float x) { return 1.0f / (1.0f + __builtin_expf(-x)); }
static inline double sigmoid(double x) { return 1.0 / (1.0 + __builtin_exp(-x)); }

template <typename T>
static inline T dot(const T* x, const T* y, i64 D) {
    T lanes[8] = {0};  // independent sums, which the compiler may add side by side
    i64 d = 0;
    for (; d + 8 <= D; d += 8)
        for (i64 j = 0; j < 8; ++j) lanes[j] += x[d + j] * y[d + j];
    for (; d < D; ++d) lanes[0] += x[d] * y[d];
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

template <typename T>
struct Factors {
    T units[WORK], lefts[WORK], scaled[WORK];  // k_i, l_i and g * l_i
    T strengths[FACTORS], inverses[FACTORS], system[FACTORS * FACTORS];  // system: I - M, M_ij = k_i . (g * l_j)

    void read(const T* features, const T* gain, i64 D, i64 R, T scale, T eps) {
        for (i64 i = 0; i < R; ++i) {
            const T* key = features + i * D;
            T *unit = units + i * D, *left = lefts + i * D;
            const T norm = root(dot(key, key, D));
            inverses[i] = T(1) / (norm > eps ? norm : eps);
            strengths[i] = scale * sigmoid(features[R * D + i]);
            for (i64 d = 0; d < D; ++d) left[d] = unit[d] = key[d] * inverses[i];
            for (i64 j = 0; j < i; ++j) {
                const T along = dot(units + j * D, unit, D);
                for (i64 d = 0; d < D; ++d) left[d] -= along * lefts[j * D + d];
            }
            for (i64 d = 0; d < D; ++d) left[d] *= strengths[i];
            for (i64 d = 0; d < D; ++d) scaled[i * D + d] = gain[d] * left[d];
        }
        for (i64 i = 0; i < R; ++i)
            for (i64 j = 0; j < R; ++j) system[i * R + j] = T(i == j) - dot(units + i * D, scaled + j * D, D);
    }

    // Solves the system, or its transpose, for `right` in place: elimination with the largest pivot.
    void solve(T* right, i64 R, bool transposed) const {
        T a[FACTORS * FACTORS];
        for (i64 i = 0; i < R; ++i)
            for (i64 j = 0; j < R; ++j) a[i * R + j] = transposed ? system[j * R + i] : system[i * R + j];
        for (i64 k = 0; k < R; ++k) {
            i64 best = k;
            for (i64 i = k + 1; i < R; ++i)
                if (a[i * R + k] * a[i * R + k] > a[best * R + k] * a[best * R + k]) best = i;
            for (i64 j = 0; j < R; ++j) {
                const T kept = a[k * R + j];
                a[k * R + j] = a[best * R + j];
                a[best * R + j] = kept;
            }
            const T kept = right[k];
            right[k] = right[best];
            right[best] = kept;
            for (i64 i = k + 1; i < R; ++i) {
                const T factor = a[i * R + k] / a[k * R + k];
                for (i64 j = k; j < R; ++j) a[i * R + j] -= factor * a[k * R + j];
                right[i] -= factor * right[k];
            }
        }
        for (i64 k = R - 1; k >= 0; --k) {
            for (i64 j = k + 1; j < R; ++j) right[k] -= a[k * R + j] * right[j];
            right[k] /= a[k * R + k];
        }
    }
};

// States of the times from t to end, in order; `before` of t = 0 is `first` (B, D).
template <typename T>
static void forward(const T* decay, const T* drive, const T* features, const T* first, T* states, i64 t0, i64 end, i64 B,
                    i64 S, i64 D, i64 R, T scale, T eps, i64 threads) {
#ifdef _OPENMP
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
#endif
    for (i64 b = 0; b < B; ++b) {
        Factors<T> factors;
        T gain[WORK], known[WORK], right[FACTORS];
        for (i64 t = t0; t < end; ++t) {
            const i64 at = (b * S + t) * D;
            const T* before = t ? states + at - D : first + b * D;
            for (i64 d = 0; d < D; ++d) gain[d] = T(1) - decay[at + d];
            for (i64 d = 0; d < D; ++d) known[d] = decay[at + d] * (before[d] - drive[at + d]);
            factors.read(features + (b * S + t) * R * (D + 1), gain, D, R, scale, eps);
            for (i64 i = 0; i < R; ++i) right[i] = dot(factors.units + i * D, known, D);
            factors.solve(right, R, false);
            for (i64 i = 0; i < R; ++i)
                for (i64 d = 0; d < D; ++d) known[d] += right[i] * factors.scaled[i * D + d];
            for (i64 d = 0; d < D; ++d) states[at + d] = drive[at + d] + known[d];
        }
    }
}

// The adjoint of the times from end - 1 down to t; `carry` (B, D) goes in and out.
template <typename T>
static void backward(const T* decay, const T* drive, const T* features, const T* first, const T* states, const T* grad,
                     T* ddecay, T* ddrive, T* dfeatures, T* carry, i64 t0, i64 end, i64 B, i64 S, i64 D, i64 R, T scale,
                     T eps, i64 threads) {
#ifdef _OPENMP
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
#endif
    for (i64 b = 0; b < B; ++b) {
        Factors<T> factors;
        T gain[WORK], adjoint[WORK], through[WORK], inner[WORK], met[WORK], x[WORK], right[FACTORS], along[FACTORS];
        for (i64 t = end - 1; t >= t0; --t) {
            const i64 at = (b * S + t) * D, put = (b * S + t) * R * (D + 1);
            const T* before = t ? states + at - D : first + b * D;
            for (i64 d = 0; d < D; ++d) gain[d] = T(1) - decay[at + d];
            factors.read(features + put, gain, D, R, scale, eps);
            for (i64 d = 0; d < D; ++d) through[d] = adjoint[d] = grad[at + d] + carry[b * D + d];
            for (i64 i = 0; i < R; ++i) right[i] = dot(factors.scaled + i * D, adjoint, D);
            factors.solve(right, R, true);
            for (i64 i = 0; i < R; ++i)
                for (i64 d = 0; d < D; ++d) through[d] += right[i] * factors.units[i * D + d];
            // w through the factors, the last one first; met: what each of them met
            for (i64 d = 0; d < D; ++d) x[d] = states[at + d] - drive[at + d];
            for (i64 i = R - 1; i >= 0; --i) {
                const T* unit = factors.units + i * D;
                along[i] = dot(unit, x, D);
                for (i64 d = 0; d < D; ++d) met[i * D + d] = x[d];
                for (i64 d = 0; d < D; ++d) x[d] -= factors.strengths[i] * along[i] * unit[d];
            }
            for (i64 d = 0; d < D; ++d) {
                const T moved = (states[at + d] - drive[at + d]) - x[d];  // w - Q w
                ddecay[at + d] = through[d] * (before[d] - drive[at + d] - moved);
                ddrive[at + d] = adjoint[d] - decay[at + d] * through[d];
                carry[b * D + d] = decay[at + d] * through[d];
                inner[d] = -gain[d] * through[d];  // the adjoint of Q w
            }
            for (i64 i = 0; i < R; ++i) {
                const T *unit = factors.units + i * D, *seen = met + i * D;
                T* dkey = dfeatures + put + i * D;
                const T s = factors.strengths[i], p = along[i], q = dot(unit, inner, D);
                dfeatures[put + R * D + i] = -p * q * s * (T(1) - s / scale);
                // k . dk = -2 s p q; a key shorter than eps is divided by eps, which has no inner part
                const T parallel = factors.inverses[i] * eps >= T(1) ? T(0) : -2 * s * p * q;
                for (i64 d = 0; d < D; ++d) {
                    const T dunit = -s * (p * inner[d] + q * seen[d]);
                    dkey[d] = (dunit - parallel * unit[d]) * factors.inverses[i];
                    inner[d] -= s * q * unit[d];
                }
            }
        }
    }
}

#define EXPORT(T)                                                                                                      \
    extern "C" void forward_##T(const T* decay, const T* drive, const T* features, const T* first, T* states,          \
                                i64 t, i64 end, i64 B, i64 S, i64 D, i64 R, double scale, i64 threads) {               \
        forward<T>(decay, drive, features, first, states, t, end, B, S, D, R, T(scale), T(1e-6), threads);             \
    }                                                                                                                  \
    extern "C" void backward_##T(const T* decay, const T* drive, const T* features, const T* first, const T* states,   \
                                 const T* grad, T* ddecay, T* ddrive, T* dfeatures, T* carry, i64 t, i64 end, i64 B,   \
                                 i64 S, i64 D, i64 R, double scale, i64 threads) {                                     \
        backward<T>(decay, drive, features, first, states, grad, ddecay, ddrive, dfeatures, carry, t, end, B, S, D,    \
                    R, T(scale), T(1e-6), threads);                                                                    \
    }

EXPORT(float)
EXPORT(double)
