// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "quanto/io/safetensors_header.h"

namespace quanto::io {

/// Metadata and tensors of a header's JSON, each entry checked by itself:
/// known keys once, dtype known, shape and offsets whole numbers, offsets that
/// fit dtype and shape. Read event by event, so that memory is bounded by the
/// tensors, not by what else a hostile text holds.
Result<SafetensorsHeader> read_header_json(std::span<const std::byte> json,
                                           const std::string& file);

}  // namespace quanto::io
