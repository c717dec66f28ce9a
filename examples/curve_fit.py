"""Fits a certified problem of the National Institute of Standards and Technology, and prints its digits beside ours.

Rat43 (Ratkowsky, Nonlinear Regression Modeling, 1983, pp. 62 and 88) is the growth of onions, dry weight against time. NIST
counts it among the difficult ones, and certifies parameters and standard errors to 11 digits:
https://www.itl.nist.gov/div898/strd/nls/data/ratkowsky3.shtml
"""

import numpy as np

import corgi

TIME = np.arange(1.0, 16.0)
WEIGHT = np.array(
    [16.08, 33.83, 65.80, 97.20, 191.55, 326.20, 386.87, 520.53, 590.03, 651.92, 724.93, 699.56, 689.96, 637.56, 717.41]
)
START = [100.0, 10.0, 1.0, 1.0]
PARAMETERS = [6.9964151270e02, 5.2771253025e00, 7.5962938329e-01, 1.2792483859e00]
ERRORS = [1.6302297817e01, 2.0828735829e00, 1.9566123451e-01, 6.8761936385e-01]
SUM_OF_SQUARES = 8.7864049080e03


def growth(time, limit, shift, rate, shape):
    return limit / (1 + np.exp(shift - rate * time)) ** (1 / shape)


def main():
    fit = corgi.curve_fit(growth, TIME, WEIGHT, START)

    print(f"{'':14} {'certified':>17} {'found':>17}   {'certified error':>17} {'found error':>17}")
    columns = ("limit", "shift", "rate", "shape"), PARAMETERS, fit.parameters.tolist(), ERRORS, fit.errors.tolist()
    for name, value, found, error, found_error in zip(*columns, strict=True):
        print(f"{name:14} {value:17.10e} {found:17.10e}   {error:17.10e} {found_error:17.10e}")
    print(f"sum of squares {SUM_OF_SQUARES:17.10e} {fit.sum_of_squares:17.10e}")
    print(f"{fit.iterations} steps, {fit.evaluations} evaluations: {fit.message}")
    return fit


if __name__ == "__main__":
    main()
