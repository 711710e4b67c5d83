// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "quanto/core/dtype.h"

// What an iteration of HQQ's search (hqq.h) makes of one group row, on vectors.

namespace quanto::scale {

/// The proximal operator of the l_p norm: |e| less |e|^exponent * inverse_beta,
/// but at least 0, with the sign of e.
struct Shrinkage {
  float exponent;
  float inverse_beta;
  float nothing_below;  ///< smaller errors become 0, without a power

  Shrinkage(float lp_norm, float beta)
      : exponent(lp_norm - 1.0F),
        inverse_beta(1.0F / beta),
        // |e| = |e|^(p - 1) / beta, less a thousand times what power() may err.
        nothing_below(0.999F *
                      std::pow(inverse_beta, 1.0F / (2.0F - lp_norm))) {}

  /// Takes no powers: for shifts that no iteration will ask for.
  void rest() { nothing_below = std::numeric_limits<float>::infinity(); }
};

/// One group row, its elements and codes one after the other.
struct GroupRow {
  const unsigned char* base;
  const uint8_t* codes;
  size_t width;
  float step;
  float offset;
};

/// Of the elements of a row.
struct Refined {
  double error = 0.0;    ///< sum of |e|
  double shift = 0.0;    ///< of the shifts
  float largest = 0.0F;  ///< |e|
};

/// A row's errors e under its shift, `offset`, and the shifts that would make
/// each element exact once its shrunk error is taken out of the weight:
/// step * q - (w - shrunk). With `shrinkage` null all errors shrink to 0.
using Refine = Refined (*)(const GroupRow& row, const Shrinkage* shrinkage);

/// For elements of `dtype`.
Refine refine_of(DType dtype);

}  // namespace quanto::scale
