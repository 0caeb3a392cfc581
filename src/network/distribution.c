/*
 * distribution: the heads that foretell how a value is distributed: their losses, gradients and quantiles.
 *
 * In:  raw outputs of a row, [targets][outputs a target], and the targets.
 * Out: the loss, the mean over the targets, and its gradient in place of the outputs; quantiles.
 *
 *   quantile a b c ...  outputs q[k]; L = 2/levels sum max(a[k] (t - q[k]), (a[k] - 1)(t - q[k])), the CRPS as these
 *                       quantiles show it (Koenker & Bassett 1978)
 *   gaussian            outputs m, w; s = softplus(w) + 1e-4;  z = (t - m)/s;  L = log s + z^2/2 + log(2 pi)/2
 *   studentt            outputs m, w, v; s the same; n = 2 + softplus(v) degrees of freedom;
 *                       L = log s + (n+1)/2 log(1 + z^2/n) + log(n pi)/2 + lgamma(n/2) - lgamma((n+1)/2)
 *
 * In double: a row has few targets, and the last two take logarithms of gamma functions.
 */
#include "network.h"
#include <math.h>

static const double least_scale = 1e-4;

int car_head_parameters(const struct car_net *net) {
    return net->head == CAR_HEAD_QUANTILE   ? net->level_count
           : net->head == CAR_HEAD_GAUSSIAN ? 2
           : net->head == CAR_HEAD_STUDENTT ? 3
                                            : 1;
}

static double softplus(double x) {
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double log_gamma(double x) {
    int sign;
    return lgamma_r(x, &sign);
}

/* The derivative of log gamma for x > 0: upwards by psi(x) = psi(x+1) - 1/x, then Stirling's series. */
static double digamma(double x) {
    double sum = 0;
    while (x < 10)
        sum -= 1 / x++;
    double y = 1 / (x * x);
    return sum + log(x) - 0.5 / x - y * (1.0 / 12 - y * (1.0 / 120 - y * (1.0 / 252 - y / 240)));
}

/* ---- Losses ------------------------------------------------------------------------------------------- */

/* One target; out[..]: dL/d(raw outputs). */
static double quantile_loss(const struct car_net *net, const float *raw, double target,
                            double *out) {
    double loss = 0, share = 2.0 / net->level_count;
    for (int k = 0; k < net->level_count; k++) {
        double error = target - (double)raw[k], level = net->levels[k];
        loss += share * fmax(level * error, (level - 1) * error);
        out[k] = share * ((error < 0) - level);
    }
    return loss;
}

static double gaussian_loss(const float *raw, double target, double *out) {
    double s = softplus((double)raw[1]) + least_scale, z = (target - (double)raw[0]) / s;
    out[0] = -z / s;
    out[1] = (1 - z * z) / s * sigmoid((double)raw[1]);
    return log(s) + 0.5 * z * z + 0.5 * log(2 * M_PI);
}

static double studentt_loss(const float *raw, double target, double *out) {
    double s = softplus((double)raw[1]) + least_scale, z = (target - (double)raw[0]) / s;
    double n = 2 + softplus((double)raw[2]), far = log1p(z * z / n);
    double weight = (n + 1) / (n + z * z);
    out[0] = -weight * z / s;
    out[1] = (1 - weight * z * z) / s * sigmoid((double)raw[1]);
    out[2] = 0.5 * (far - weight * z * z / n + 1 / n + digamma(n / 2) - digamma((n + 1) / 2)) *
             sigmoid((double)raw[2]);
    return log(s) + 0.5 * (n + 1) * far + 0.5 * log(n * M_PI) + log_gamma(n / 2) -
           log_gamma((n + 1) / 2);
}

double car_distribution_loss(const struct car_net *net, int targets, float *raw,
                             const float *target, bool backward, float scale) {
    double gradient[CAR_NET_LEVEL_LIMIT], loss = 0;
    int each = car_head_parameters(net);
    for (int j = 0; j < targets; j++) {
        float *own = raw + (size_t)j * (size_t)each;
        double t = (double)target[j];
        loss += net->head == CAR_HEAD_QUANTILE   ? quantile_loss(net, own, t, gradient)
                : net->head == CAR_HEAD_GAUSSIAN ? gaussian_loss(own, t, gradient)
                                                 : studentt_loss(own, t, gradient);
        for (int k = 0; backward && k < each; k++)
            own[k] = (float)((double)scale * gradient[k] / targets);
    }
    return loss / targets;
}

/* ---- Quantiles ---------------------------------------------------------------------------------------- */

/* Newton's method from the middle: the distribution function bends towards it, so every step stays on this side. */
static double normal_quantile(double level) {
    double p = level > 0.5 ? 1 - level : level, x = 0;
    for (int i = 0; i < 60; i++) {
        double above = 0.5 * erfc(x / M_SQRT2) - p;
        double step = above * sqrt(2 * M_PI) * exp(0.5 * x * x);
        x += step;
        if (step < 1e-13)
            break;
    }
    return level > 0.5 ? x : -x;
}

/* Hill 1970 (algorithm 396 of the ACM): about 6 digits. `p`: the probability beyond -t and t together. */
static double studentt_beyond(double p, double n) {
    double a = 1 / (n - 0.5), b = 48 / (a * a);
    double c = ((20700 * a / b - 98) * a - 16) * a + 96.36;
    double d = ((94.5 / (b + c) - 3) / b + 1) * sqrt(a * M_PI_2) * n;
    double y = pow(d * p, 2 / n);
    if (y > 0.05 + a) {
        double x = normal_quantile(0.5 * p);
        y = x * x;
        if (n < 5)
            c += 0.3 * (n - 4.5) * (x + 0.6);
        c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c;
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x;
        y = expm1(a * y * y);
    } else {
        y = ((1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y -
             1) *
                (n + 1) / (n + 2) +
            1 / y;
    }
    return sqrt(n * y);
}

static double studentt_quantile(double level, double n) {
    double p = 2 * (level > 0.5 ? 1 - level : level);
    double t = p >= 1 ? 0 : n < 2.001 ? sqrt(2 / (p * (2 - p)) - 2) : studentt_beyond(p, n);
    return level > 0.5 ? t : -t;
}

double car_distribution_point(const struct car_net *net, const float *raw) {
    if (net->head != CAR_HEAD_QUANTILE)
        return (double)raw[0];
    return car_distribution_quantile(net, raw, 0.5);
}

/* Between two levels in a straight line; beyond the outermost it is theirs. */
static double between_levels(const struct car_net *net, const float *raw, double level) {
    int k = 0, last = net->level_count - 1;
    while (k < last && net->levels[k + 1] <= level)
        k++;
    if (k == last || level <= net->levels[k])
        return (double)raw[k];
    double share = (level - net->levels[k]) / (net->levels[k + 1] - net->levels[k]);
    return (double)raw[k] + share * ((double)raw[k + 1] - (double)raw[k]);
}

double car_distribution_quantile(const struct car_net *net, const float *raw, double level) {
    if (net->head == CAR_HEAD_QUANTILE)
        return between_levels(net, raw, level);
    if (net->head == CAR_HEAD_LINEAR)
        return (double)raw[0];
    double s = softplus((double)raw[1]) + least_scale;
    double z = net->head == CAR_HEAD_GAUSSIAN
                   ? normal_quantile(level)
                   : studentt_quantile(level, 2 + softplus((double)raw[2]));
    return (double)raw[0] + s * z;
}
