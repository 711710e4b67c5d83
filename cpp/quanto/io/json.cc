// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/json.h"

#include <set>
#include <vector>

#include "quanto/io/counting_iterator.h"
#include "quanto/io/mapped_file.h"

namespace quanto::io {
namespace {

using Event = nlohmann::detail::parse_event_t;

/// Watches a parse from its callback; `problem` is the first thing wrong.
class Watch {
 public:
  Watch(const char* begin, const char* const& position)
      : begin_(begin), position_(position) {}

  bool operator()(int depth, Event event, const Json& parsed) {
    const bool opens =
        event == Event::object_start || event == Event::array_start;
    if (opens && depth >= kMaxJsonDepth) {
      report(fmt::format("expected at most {} nested levels, got more",
                         kMaxJsonDepth));
    } else if (event == Event::object_start) {
      keys_.emplace_back();
    } else if (event == Event::object_end) {
      keys_.pop_back();
    } else if (event == Event::key && !keys_.empty()) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys_.back().insert(key).second) {
        report(fmt::format("expected each key once, got '{}' twice", key));
      }
    }
    return problem_.empty();  // what follows a problem is not kept
  }

  [[nodiscard]] const std::string& problem() const { return problem_; }
  [[nodiscard]] uint64_t offset() const { return offset_; }

 private:
  void report(std::string problem) {
    if (!problem_.empty()) return;
    problem_ = std::move(problem);
    offset_ = static_cast<uint64_t>(position_ - begin_);
  }

  const char* begin_;
  const char* const& position_;
  std::vector<std::set<std::string>> keys_;
  std::string problem_;
  uint64_t offset_ = 0;
};

}  // namespace

Result<Json> parse_json(std::span<const std::byte> bytes,
                        const std::string& file) {
  if (bytes.size() > kMaxJsonBytes) {
    return Error{file,
                 {},
                 fmt::format("expected at most {} bytes of JSON, got {}",
                             kMaxJsonBytes, bytes.size())};
  }
  const char* begin = reinterpret_cast<const char*>(bytes.data());
  const char* position = begin;
  Watch watch(begin, position);
  try {
    Json value = Json::parse(CountingIterator(begin, &position),
                             CountingIterator(begin + bytes.size(), nullptr),
                             std::ref(watch));
    if (watch.problem().empty()) return value;
    return Error{file, watch.offset(), watch.problem()};
  } catch (const Json::parse_error& error) {
    if (!watch.problem().empty()) {
      return Error{file, watch.offset(), watch.problem()};
    }
    return Error{file, error.byte == 0 ? 0 : error.byte - 1,
                 "expected JSON in UTF-8, got something else"};
  } catch (const Json::exception&) {
    return Error{file, static_cast<uint64_t>(position - begin),
                 "expected numbers in the range of double, got one outside"};
  }
}

Result<Json> read_json(const std::string& path) {
  QUANTO_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  return parse_json(file.bytes(), path);
}

std::string json_text(const Json& value) { return value.dump(2) + "\n"; }

}  // namespace quanto::io
