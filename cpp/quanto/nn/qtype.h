// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <c10/core/ScalarType.h>

#include <string_view>

#include "quanto/core/qtype.h"

namespace quanto::nn {

/// The type of that name: "qint8" and "int8", "qfloat8_e4m3fn" and "float8"
/// alike. Throws std::invalid_argument, with the names that there are.
const QType& as_qtype(std::string_view name);

/// torch's element type of the type's data: int8 or float8 for 8 bits, uint8
/// for packed codes.
c10::ScalarType data_type(const QType& type);

}  // namespace quanto::nn
