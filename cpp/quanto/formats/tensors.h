// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>

#include "quanto/io/checkpoint.h"

namespace quanto::formats {

/// The tensors of a checkpoint by every name they have: that under which they
/// are stored, and those that are tied to it (docs/formats.md).
class Tensors {
 public:
  /// Errors: those of read_tied; a name that two files have.
  static io::Result<Tensors> read(const io::Checkpoint& checkpoint);

  using ByName = std::map<std::string, io::Checkpoint::Found, std::less<>>;
  [[nodiscard]] const ByName& all() const { return by_name_; }

  /// The tensor of that name, or nullptrs. Its own name is the stored one.
  [[nodiscard]] io::Checkpoint::Found find(std::string_view name) const;

 private:
  ByName by_name_;
};

}  // namespace quanto::formats
