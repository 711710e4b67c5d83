// SPDX-License-Identifier: Apache-2.0
#include "quanto/cli/policy.h"

#include <re2/re2.h>

#include "quanto/cli/failure.h"
#include "quanto/io/json.h"

namespace quanto::cli {
namespace {

using io::Json;

class RuleReader {
 public:
  RuleReader(const std::string& file, size_t number)
      : where_(fmt::format("{}: rule {}", file, number)) {}

  Rule read(const Json& json) {
    if (!json.is_object())
      fail("{}: expected an object, got {}", where_, json.dump());
    Rule rule;
    for (const auto& [key, value] : json.items()) take(rule, key, value);
    if (!rule.expression) fail("{}: expected a match, got none", where_);
    if (rule.skip && (rule.weights || rule.group_size || rule.optimizer)) {
      fail("{}: expected nothing beside skip, got it", where_);
    }
    return rule;
  }

 private:
  void take(Rule& rule, const std::string& key, const Json& value) {
    if (key == "match") {
      take_match(rule, value);
    } else if (key == "skip" && value.is_boolean()) {
      rule.skip = value.get<bool>();
    } else if (key == "weights" && value.is_string()) {
      const QType* type = formats::find_type(value.get<std::string>());
      if (type == nullptr) refuse("the name of a type as weights", value);
      rule.weights = type->id;
    } else if (key == "group_size" && value.is_number_unsigned() &&
               value.get<int64_t>() > 0) {
      rule.group_size = value.get<int64_t>();
    } else if (key == "optimizer" && value.is_string()) {
      rule.optimizer = find_optimizer(value.get<std::string>());
      if (!rule.optimizer) refuse("absmax, max or hqq as optimizer", value);
    } else {
      fail(
          "{}: expected match, skip, weights, group_size and optimizer, got "
          "\"{}\": {}",
          where_, key, value.dump());
    }
  }

  void take_match(Rule& rule, const Json& value) {
    if (!value.is_string()) refuse("a regular expression as match", value);
    rule.match = value.get<std::string>();
    RE2::Options options;
    options.set_log_errors(false);
    rule.expression = std::make_shared<const RE2>(rule.match, options);
    if (!rule.expression->ok()) {
      fail("{}: expected a regular expression of RE2, got {}: {}", where_,
           value.dump(), rule.expression->error());
    }
  }

  [[noreturn]] void refuse(const char* expected, const Json& value) {
    fail("{}: expected {}, got {}", where_, expected, value.dump());
  }

  std::string where_;
};

}  // namespace

bool Rule::finds(const std::string& module) const {
  return RE2::PartialMatch(module, *expression);
}

std::vector<Rule> read_policy(const std::string& path) {
  const Json json = unwrap(io::read_json(path));
  if (!json.is_array()) fail("{}: expected an array of rules", path);
  std::vector<Rule> rules;
  for (const Json& rule : json) {
    rules.push_back(RuleReader(path, rules.size() + 1).read(rule));
  }
  return rules;
}

std::optional<formats::Optimizer> find_optimizer(const std::string& name) {
  if (name == "absmax") return formats::Optimizer::kAbsmax;
  if (name == "max") return formats::Optimizer::kMax;
  if (name == "hqq") return formats::Optimizer::kHqq;
  return std::nullopt;
}

}  // namespace quanto::cli
