// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "quanto/formats/metadata.h"
#include "quanto/formats/quanto.h"
#include "quanto/io/checkpoint.h"

namespace quanto::formats {

/// What the files of a checkpoint say of its quantized weights, by module.
struct Sayings {
  bool has_map = false;
  std::string map_file;                                ///< where the map stands
  std::map<std::string, MapEntry> map;                 ///< the quantization map
  std::map<std::string, WeightDescription> described;  ///< in the metadata
};

/// From the metadata of the files, and the map in config.json's
/// quantization_config or in the predecessor's quanto_qmap.json. Errors: those
/// of what is read.
io::Result<Sayings> read_sayings(const io::Checkpoint& checkpoint);

}  // namespace quanto::formats
