// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/tensors.h"

#include <fmt/format.h>

#include "quanto/formats/metadata.h"

namespace quanto::formats {

using io::Checkpoint;

io::Result<Tensors> Tensors::read(const Checkpoint& checkpoint) {
  Tensors tensors;
  const auto add = [&](const std::string& name,
                       const Checkpoint::Found& found) -> io::Status {
    const auto [place, is_new] = tensors.by_name_.emplace(name, found);
    if (is_new) return io::Done{};
    return io::Error{found.file->path(),
                     {},
                     fmt::format("expected no '{}', which {} has, got one",
                                 name, place->second.file->path())};
  };
  for (const io::SafetensorsFile& file : checkpoint.files()) {
    QUANTO_ASSIGN_OR_RETURN(const auto tied,
                            read_tied(file.header(), file.path()));
    for (const io::TensorInfo& tensor : file.header().tensors) {
      QUANTO_RETURN_IF_ERROR(add(tensor.name, {&file, &tensor}));
    }
    for (const auto& [name, stored] : tied) {
      QUANTO_RETURN_IF_ERROR(add(name, {&file, file.find(stored)}));
    }
  }
  return tensors;
}

Checkpoint::Found Tensors::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? Checkpoint::Found{} : found->second;
}

}  // namespace quanto::formats
