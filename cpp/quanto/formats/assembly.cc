// SPDX-License-Identifier: Apache-2.0
#include "quanto/formats/assembly.h"

#include <utility>

#include "quanto/formats/codes.h"

namespace quanto::formats {
namespace {

using io::Checkpoint;
using io::Error;
using io::Result;
using io::TensorInfo;

using Shape = std::vector<int64_t>;

std::string group_text(std::optional<int64_t> group_size) {
  return group_size ? fmt::format("{}", *group_size) : "one for each output";
}

/// What is said of a module, or nullptr.
template <typename Entry>
const Entry* find(const std::map<std::string, Entry>& entries,
                  const std::string& module) {
  const auto found = entries.find(module);
  return found == entries.end() ? nullptr : &found->second;
}

class Assembly {
 public:
  Assembly(const Tensors& tensors, const Sayings& sayings,
           const std::string& module)
      : tensors_(tensors), sayings_(sayings), module_(module) {
    packed_ = part(kPackedData);
    weight_.scale = part(kScale);
    weight_.shift = part(kShift);
    weight_.data = packed_.tensor != nullptr ? packed_ : part(kData);
  }

  Result<ModelTensor> put_together() {
    weight_.name = module_ + ".weight";
    if (weight_.data.tensor == nullptr) {
      return wrong(weight_.scale, "data beside the scale", "none");
    }
    const TensorInfo& scale = *weight_.scale.tensor;
    if (!io::is_float(*scale.type)) {
      return wrong(weight_.scale, "F32, F16 or BF16",
                   std::string(scale.type->name));
    }
    weight_.type = scale.type;
    find_owner();
    entry_ = said_in(sayings_.map);
    described_ = said_in(sayings_.described);
    const Parts parts{weight_.data, weight_.scale, weight_.shift};
    QUANTO_ASSIGN_OR_RETURN(Codes codes, packed_.tensor != nullptr
                                             ? read_packed(parts, said_type())
                                             : read_bytes(parts));
    facts_ = codes.facts;
    weight_.shape = std::move(codes.shape);
    weight_.shape_known = codes.shape_known;
    QUANTO_RETURN_IF_ERROR(check_map());
    QUANTO_RETURN_IF_ERROR(take_description());
    weight_.facts = facts_;
    return std::move(weight_);
  }

 private:
  [[nodiscard]] Checkpoint::Found part(std::string_view end) const {
    return tensors_.find(module_ + std::string(end));
  }

  /// What the files say of the module, or of the one that it is tied to.
  template <typename Entry>
  [[nodiscard]] const Entry* said_in(
      const std::map<std::string, Entry>& entries) const {
    const Entry* own = find(entries, module_);
    return own != nullptr || owner_.empty() ? own : find(entries, owner_);
  }

  /// Sets owner_ if all parts are stored as those of one other module, and
  /// counts the bytes that are stored under the module's own name.
  void find_owner() {
    const std::string_view data_end = packed_.tensor ? kPackedData : kData;
    const std::string& stored = weight_.data.tensor->name;
    const bool ends = stored.ends_with(data_end);
    owner_ = ends ? stored.substr(0, stored.size() - data_end.size()) : "";
    bool all = owner_ != module_;
    const auto look = [&](const Checkpoint::Found& found,
                          std::string_view end) {
      if (found.tensor == nullptr) return;
      const std::string_view name = found.tensor->name;
      if (name == module_ + std::string(end)) {
        weight_.stored_bytes += found.tensor->bytes();
      }
      all = all && name == owner_ + std::string(end);
    };
    look(weight_.data, data_end);
    look(weight_.scale, kScale);
    look(weight_.shift, kShift);
    if (!all) owner_.clear();
    if (all) weight_.tied_to = owner_ + ".weight";
  }

  [[nodiscard]] std::optional<QTypeId> said_type() const {
    if (described_ != nullptr) return described_->facts.qtype;
    if (entry_ != nullptr) return entry_->weights;
    return std::nullopt;
  }

  io::Status check_map() {
    if (!sayings_.has_map) return io::Done{};
    if (entry_ == nullptr || !entry_->weights) {
      return Error{
          sayings_.map_file,
          {},
          fmt::format("expected '{}' in the quantization map, got none",
                      module_)};
    }
    QUANTO_RETURN_IF_ERROR(check_type(*entry_->weights));
    if (!entry_->group_size_known || qtype(*entry_->weights).bits == 8) {
      return io::Done{};
    }
    if (!entry_->group_size) {
      facts_.group_size.reset();
      weight_.shape_known = true;
    } else if (entry_->group_size != facts_.group_size) {
      return wrong(weight_.data,
                   fmt::format("groups of {}", *entry_->group_size),
                   group_text(facts_.group_size));
    }
    return io::Done{};
  }

  io::Status check_type(QTypeId said) {
    if (said == facts_.qtype) return io::Done{};
    return wrong(weight_.data, fmt::format("codes of {}", qtype(said).name),
                 std::string(qtype(facts_.qtype).name));
  }

  io::Status take_description() {
    if (described_ == nullptr) return io::Done{};
    QUANTO_RETURN_IF_ERROR(check_type(described_->facts.qtype));
    const Shape& shape = described_->shape;
    const auto group_size = described_->facts.group_size;
    const Shape codes =
        group_size ? Shape{numel_of(shape) / *group_size, *group_size} : shape;
    if (weight_.shape != codes) {
      return wrong(weight_.data,
                   fmt::format("codes of a weight {}", shape_text(shape)),
                   shape_text(weight_.data.tensor->shape));
    }
    facts_ = described_->facts;
    weight_.shape = shape;
    weight_.shape_known = true;
    return io::Done{};
  }

  const Tensors& tensors_;
  const Sayings& sayings_;
  const std::string& module_;
  std::string owner_;
  const ModuleEntry* entry_ = nullptr;
  const WeightDescription* described_ = nullptr;
  Checkpoint::Found packed_;
  WeightFacts facts_{};
  ModelTensor weight_;
};

}  // namespace

Result<ModelTensor> put_together(const Tensors& tensors, const Sayings& sayings,
                                 const std::string& module) {
  return Assembly(tensors, sayings, module).put_together();
}

}  // namespace quanto::formats
