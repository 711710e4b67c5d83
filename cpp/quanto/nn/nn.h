// SPDX-License-Identifier: Apache-2.0
#pragma once

// The SDK in one include.

#include "quanto/nn/calibration.h"  // IWYU pragma: export
#include "quanto/nn/conv2d.h"       // IWYU pragma: export
#include "quanto/nn/embedding.h"    // IWYU pragma: export
#include "quanto/nn/layer_norm.h"   // IWYU pragma: export
#include "quanto/nn/linear.h"       // IWYU pragma: export
#include "quanto/nn/quantize.h"     // IWYU pragma: export
#include "quanto/nn/serialize.h"    // IWYU pragma: export
#include "quanto/nn/weight.h"       // IWYU pragma: export
