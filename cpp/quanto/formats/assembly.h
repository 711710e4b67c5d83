// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "quanto/formats/model.h"
#include "quanto/formats/sayings.h"
#include "quanto/formats/tensors.h"

namespace quanto::formats {

/// The quantized weight of a module that has a scale, put together from its
/// tensors. Errors: tensors that do not fit together, or differ from what is
/// said of them.
io::Result<ModelTensor> put_together(const Tensors& tensors,
                                     const Sayings& sayings,
                                     const std::string& module);

}  // namespace quanto::formats
