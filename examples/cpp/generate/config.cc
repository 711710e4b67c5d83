// SPDX-License-Identifier: Apache-2.0
#include "config.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace {

using Json = nlohmann::json;

void expect(const Json& json, const char* key, const char* value) {
  const Json found = json.value(key, Json(value));
  if (found != value) {
    throw std::runtime_error(std::string("config.json: expected ") + key + " " +
                             value + ", got " + found.dump());
  }
}

/// What says how positions turn: rope_parameters, or as older files have it.
Json rope_of(const Json& json) {
  Json rope = json.value("rope_parameters", Json());
  if (rope.is_null()) rope = json.value("rope_scaling", Json());
  if (rope.is_null()) rope = Json::object();
  expect(rope, "rope_type", "default");
  return rope;
}

std::vector<int64_t> ids_of(const Json& value) {
  if (value.is_null()) return {};
  if (value.is_array()) return value.get<std::vector<int64_t>>();
  return {value.get<int64_t>()};
}

Config config_of(const Json& json) {
  expect(json, "model_type", "llama");
  expect(json, "hidden_act", "silu");
  const Json rope = rope_of(json);
  Config config{};
  json.at("vocab_size").get_to(config.vocab_size);
  json.at("hidden_size").get_to(config.hidden_size);
  json.at("intermediate_size").get_to(config.intermediate_size);
  json.at("num_hidden_layers").get_to(config.num_hidden_layers);
  json.at("num_attention_heads").get_to(config.num_attention_heads);
  json.at("rms_norm_eps").get_to(config.rms_norm_eps);
  const int64_t heads = config.num_attention_heads;
  config.num_key_value_heads = json.value("num_key_value_heads", heads);
  config.head_dim = json.value("head_dim", config.hidden_size / heads);
  config.rope_theta =
      rope.value("rope_theta", json.value("rope_theta", 10000.0));
  config.attention_bias = json.value("attention_bias", false);
  config.mlp_bias = json.value("mlp_bias", false);
  config.tie_word_embeddings = json.value("tie_word_embeddings", false);
  config.eos_token_id = ids_of(json.value("eos_token_id", Json()));
  return config;
}

}  // namespace

Config read_config(const std::string& folder) {
  const std::string path = folder + "/config.json";
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": expected a readable file");
  try {
    return config_of(Json::parse(file));
  } catch (const Json::exception& error) {
    throw std::runtime_error(
        path + ": expected a Llama's config, got: " + error.what());
  }
}
