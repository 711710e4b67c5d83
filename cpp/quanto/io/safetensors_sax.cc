// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/safetensors_sax.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "quanto/io/counting_iterator.h"

namespace quanto::io {
namespace {

using nlohmann::json;

/// More dimensions than any framework has.
constexpr size_t kMaxDimensions = 64;

/// Takes the parser's events. A method returns false to end the parse; then
/// `problem` says why.
class HeaderReader : public nlohmann::json_sax<json> {
 public:
  explicit HeaderReader(SafetensorsHeader& header) : header_(header) {}

  [[nodiscard]] const std::string& problem() const { return problem_; }

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(int64_t) override {
    return unexpected("a negative number");
  }
  bool number_float(double, const std::string&) override {
    return unexpected("a number that is not whole");
  }
  bool binary(json::binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(uint64_t value) override {
    constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
    if (place_ == Place::kShape) {
      if (value > kMax) return unexpected("a size of 2^63 or more");
      if (tensor_.shape.size() == kMaxDimensions) {
        return unexpected("more than 64 dimensions");
      }
      tensor_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (place_ != Place::kOffsets) return unexpected("a number");
    if (offsets_ == 2) return unexpected("more than two offsets");
    (offsets_++ == 0 ? tensor_.begin : tensor_.end) = value;
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == Place::kMetadata && has_key_) {
      header_.metadata[key_] = value;
      has_key_ = false;
      return true;
    }
    if (place_ != Place::kDtype) return unexpected("a string");
    tensor_.type = find_file_type(value);
    if (tensor_.type == nullptr) {
      return fail(fmt::format("expected a known dtype of '{}', got '{}'",
                              tensor_.name, shown(value)));
    }
    place_ = Place::kTensor;
    return true;
  }

  bool start_object(size_t) override {
    if (place_ == Place::kStart) {
      place_ = Place::kTop;
      return true;
    }
    if (place_ != Place::kEntry) return unexpected("an object");
    place_ = entry_is_metadata_ ? Place::kMetadata : Place::kTensor;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTensor && !finish_tensor()) return false;
    place_ = place_ == Place::kTop ? Place::kEnd : Place::kTop;
    return true;
  }

  bool start_array(size_t) override {
    if (place_ == Place::kShapeStart) {
      place_ = Place::kShape;
    } else if (place_ == Place::kOffsetsStart) {
      place_ = Place::kOffsets;
    } else {
      return unexpected("an array");
    }
    return true;
  }

  bool end_array() override {
    if (place_ == Place::kOffsets && offsets_ != 2) {
      return fail(fmt::format("expected two data_offsets of '{}', got {}",
                              tensor_.name, offsets_));
    }
    place_ = Place::kTensor;
    return true;
  }

  bool key(std::string& value) override {
    switch (place_) {
      case Place::kTop:
        return entry_key(value);
      case Place::kMetadata:
        if (header_.metadata.contains(value)) return twice(value);
        key_ = value;
        has_key_ = true;
        return true;
      default:
        return tensor_key(value);
    }
  }

  bool parse_error(size_t, const std::string&,
                   const json::exception&) override {
    return fail("expected a header of JSON in UTF-8, got something else");
  }

 private:
  enum class Place : uint8_t {
    kStart,
    kTop,
    kEntry,
    kMetadata,
    kTensor,
    kDtype,
    kShapeStart,
    kShape,
    kOffsetsStart,
    kOffsets,
    kEnd
  };

  static std::string shown(const std::string& text) {
    constexpr size_t kLimit = 80;
    return text.size() <= kLimit ? text : text.substr(0, kLimit) + "...";
  }

  bool fail(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  bool twice(const std::string& key) {
    return fail(
        fmt::format("expected each key once, got '{}' twice", shown(key)));
  }

  bool unexpected(const char* what) {
    const char* expected = "an entry for each tensor";
    if (place_ == Place::kMetadata) expected = "a string for each metadata key";
    if (place_ == Place::kDtype) expected = "a string as dtype";
    if (place_ == Place::kShapeStart || place_ == Place::kShape) {
      expected = "an array of sizes as shape";
    }
    if (place_ == Place::kOffsetsStart || place_ == Place::kOffsets) {
      expected = "an array of two data_offsets";
    }
    return fail(fmt::format("expected {}, got {}", expected, what));
  }

  bool entry_key(const std::string& name) {
    if (!names_.insert(name).second) return twice(name);
    entry_is_metadata_ = name == "__metadata__";
    tensor_ = {};
    tensor_.name = name;
    seen_dtype_ = seen_shape_ = seen_offsets_ = false;
    offsets_ = 0;
    place_ = Place::kEntry;
    return true;
  }

  bool tensor_key(const std::string& name) {
    bool* seen = nullptr;
    Place next = Place::kDtype;
    if (name == "dtype") seen = &seen_dtype_;
    if (name == "shape") seen = &seen_shape_, next = Place::kShapeStart;
    if (name == "data_offsets") {
      seen = &seen_offsets_, next = Place::kOffsetsStart;
    }
    if (seen == nullptr) {
      return fail(fmt::format(
          "expected dtype, shape and data_offsets of '{}', got '{}'",
          shown(tensor_.name), shown(name)));
    }
    if (*seen) return twice(name);
    *seen = true;
    place_ = next;
    return true;
  }

  bool finish_tensor() {
    if (!(seen_dtype_ && seen_shape_ && seen_offsets_)) {
      return fail(
          fmt::format("expected dtype, shape and data_offsets of '{}', got "
                      "less",
                      shown(tensor_.name)));
    }
    if (tensor_.begin > tensor_.end) {
      return fail(
          fmt::format("expected data_offsets of '{}' in order, got "
                      "{} and {}",
                      shown(tensor_.name), tensor_.begin, tensor_.end));
    }
    const auto bytes = tensor_bytes(*tensor_.type, tensor_.shape);
    if (!bytes) {
      return fail(
          fmt::format("expected a shape of '{}' that makes whole bytes "
                      "below 2^64 bits, got another",
                      shown(tensor_.name)));
    }
    if (*bytes != tensor_.bytes()) {
      return fail(
          fmt::format("expected {} bytes of '{}' by dtype and shape, "
                      "got {} by data_offsets",
                      *bytes, shown(tensor_.name), tensor_.bytes()));
    }
    header_.tensors.push_back(std::move(tensor_));
    return true;
  }

  SafetensorsHeader& header_;
  Place place_ = Place::kStart;
  bool entry_is_metadata_ = false;
  TensorInfo tensor_;
  bool seen_dtype_ = false, seen_shape_ = false, seen_offsets_ = false;
  int offsets_ = 0;
  std::string key_;
  bool has_key_ = false;
  std::unordered_set<std::string> names_;
  std::string problem_;
};

}  // namespace

Result<SafetensorsHeader> read_header_json(std::span<const std::byte> text,
                                           const std::string& file) {
  const char* begin = reinterpret_cast<const char*>(text.data());
  const char* position = begin;
  SafetensorsHeader header;
  HeaderReader reader(header);
  const bool read =
      json::sax_parse(CountingIterator(begin, &position),
                      CountingIterator(begin + text.size(), nullptr), &reader);
  if (read) return header;
  const auto at = static_cast<uint64_t>(position - begin);
  return Error{file, kLengthBytes + (at == 0 ? 0 : at - 1), reader.problem()};
}

}  // namespace quanto::io
