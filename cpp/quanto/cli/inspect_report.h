// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quanto/io/json.h"

namespace quanto::cli {

/// What `quanto inspect` says of one weight, whatever file it is in.
struct InspectRow {
  std::string name;
  std::string type;
  /// Of its values; none: the file does not say it.
  std::optional<std::vector<int64_t>> shape;
  int64_t numel = 0;
  uint64_t bytes = 0;  ///< of all that is stored for it
  /// Elements that share a scale: of a quantized weight; null: one for each
  /// output. Not there for a float one.
  std::optional<io::Json> group_size;
  std::optional<std::string> scale;    ///< the type of its scales, if any say
  std::optional<std::string> tied_to;  ///< whose tensors are its
};

struct InspectReport {
  /// What comes first in the JSON, as it stands.
  io::Json head = io::Json::object();
  std::vector<InspectRow> rows;
  uint64_t other_bytes = 0;  ///< of what is no weight
};

/// On stdout.
void print_json(const InspectReport& report);
void print_table(const InspectReport& report);

}  // namespace quanto::cli
