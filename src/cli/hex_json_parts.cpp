#include "src/cli/hex_json_parts.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

namespace apr::cli {

using format::ModelFile;

namespace {

constexpr int kArrayDepth = 3;

/// A float as its shortest decimal form, so that JSON and text show the same digits.
double shortest(float value) {
  return std::isfinite(value) ? std::strtod(fmt::format("{}", value).c_str(), nullptr) : static_cast<double>(value);
}

double as_double(float value) { return shortest(value); }
double as_double(double value) { return value; }

Json array_json(const format::ArrayRef& array, std::uint64_t limit, int depth);

void put_value(Json& object, std::string_view key, const format::Value& value, std::uint64_t limit, int depth) {
  using format::ValueType;
  const std::string k(key);
  switch (value.type()) {
    case ValueType::String: return put_text(object, key, value.as_string().value_or(""));
    case ValueType::Bool: object[k] = value.as_bool().value_or(false); return;
    case ValueType::F32: return put_number(object, key, shortest(static_cast<float>(value.as_f64().value_or(0))));
    case ValueType::F64: return put_number(object, key, value.as_f64().value_or(0));
    case ValueType::Null: object[k] = nullptr; return;
    case ValueType::Object: return put_text(object, key, value.as_object()->text);
    case ValueType::Array: object[k] = array_json(*value.as_array(), limit, depth); return;
    default: break;
  }
  if (const auto i = value.as_i64())
    object[k] = *i;
  else
    object[k] = value.as_u64().value_or(0);
}

Json array_json(const format::ArrayRef& array, std::uint64_t limit, int depth) {
  Json j;
  j["element"] = name(array.element);
  j["count"] = array.count;
  j["first"] = Json::array();
  array.for_each([&](std::uint64_t i, const format::Value& value) {
    if (i >= limit || depth == 0) return false;
    Json item = Json::object();
    put_value(item, "v", value, limit, depth - 1);
    if (item.size() == 1)
      j["first"].push_back(std::move(item["v"]));
    else  // a text that is no UTF-8, or a number that is not finite: keep what its sibling says
      j["first"].push_back(std::move(item));
    return true;
  });
  return j;
}

void put_type(Json& j, const format::TensorInfo& tensor) {
  j["dtype"] = tensor.type == TensorType::Unknown ? Json(nullptr) : Json(name(tensor.type));
  if (tensor.type != TensorType::Unknown) return;
  if (tensor.raw_type_name.empty())
    j["dtype_raw"] = tensor.raw_type;
  else
    put_text(j, "dtype_raw", tensor.raw_type_name);
}

}  // namespace

std::string bytes_hex(std::span<const std::byte> bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  constexpr char kDigits[] = "0123456789abcdef";
  for (const std::byte b : bytes) {
    const auto v = std::to_integer<unsigned>(b);
    out += kDigits[v >> 4];
    out += kDigits[v & 15];
  }
  return out;
}

/// values: numbers, null where not finite; non_finite: [{index, value}] for each null.
void put_numbers(Json& object, const std::vector<inspect::Number>& numbers) {
  Json values = Json::array();
  Json non_finite = Json::array();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    std::visit(
        [&](const auto v) {
          if constexpr (std::is_floating_point_v<decltype(v)>) {
            if (const auto reason = non_finite_name(static_cast<double>(v))) {
              values.push_back(nullptr);
              non_finite.push_back({{"index", i}, {"value", *reason}});
            } else {
              values.push_back(as_double(v));
            }
          } else {
            values.push_back(v);
          }
        },
        numbers[i]);
  }
  object["values"] = std::move(values);
  object["non_finite"] = std::move(non_finite);
}

Json metadata_json(const format::MetadataEntry& entry, std::uint64_t limit) {
  Json j;
  put_text(j, "key", entry.key);
  j["type"] = name(entry.value.type());
  j["offset"] = entry.key_offset;
  j["value_offset"] = entry.value_offset;
  j["end_offset"] = entry.end_offset;
  j["file_index"] = entry.file_index;
  put_value(j, "value", entry.value, limit, kArrayDepth);
  return j;
}

void put_model(Json& j, const ModelFile& model) {
  j["format_version"] = model.version.empty() ? Json(nullptr) : Json(model.version);
  j["byte_order"] = model.byte_order == std::endian::big ? "big" : "little";
  j["alignment"] = model.alignment;
  j["data_offset"] = model.data_offset;
  j["files"] = Json::array();
  for (const auto& file : model.files) {
    Json f;
    put_text(f, "path", file->path());
    f["size_bytes"] = file->size();
    j["files"].push_back(std::move(f));
  }
}

Json tensor_info_json(std::size_t index, const format::TensorInfo& t) {
  Json j;
  j["index"] = index;
  put_text(j, "name", t.name);
  put_type(j, t);
  j["shape"] = t.shape;
  j["n_elements"] = t.n_elements;
  j["offset"] = t.offset;
  j["size_bytes"] = t.size_bytes;
  j["file_index"] = t.file_index;
  j["readable"] = t.readable;
  return j;
}

Json regions_json(const ModelFile& model) {
  Json regions = Json::array();
  for (const format::Region& r : model.regions)
    regions.push_back(
        {{"name", r.name}, {"file_index", r.file_index}, {"offset", r.offset}, {"size_bytes", r.size_bytes}});
  return regions;
}

void put_number(Json& object, std::string_view key, const inspect::Number& number) {
  std::visit(
      [&](const auto v) {
        if constexpr (std::is_same_v<decltype(v), const float>)
          put_number(object, key, shortest(v));
        else if constexpr (std::is_same_v<decltype(v), const double>)
          put_number(object, key, v);
        else
          object[std::string(key)] = v;
      },
      number);
}

Json part_json(const inspect::PartPlace& part) {
  Json j;
  j["kind"] = name(part.kind);
  j["field"] = part.field.empty() ? Json(nullptr) : Json(part.field);
  j["bits"] = Json::array();
  for (const inspect::FileBits& b : part.bits)
    j["bits"].push_back({{"offset", b.offset}, {"first_bit", b.first_bit}, {"width", b.width}});
  j["stored"] = part.stored;
  put_number(j, "value", part.value);
  return j;
}

Json weight_json(const ModelFile& model, const inspect::WeightPlace& weight) {
  Json j;
  put_text(j, "name", model.tensors[weight.tensor].name);
  j["index"] = weight.index;
  j["element"] = weight.element;
  j["row"] = weight.row;
  j["block"] = weight.block;
  j["in_block"] = weight.in_block;
  j["block_offset"] = weight.block_offset;
  j["block_bytes"] = weight.block_bytes;
  j["parts"] = Json::array();
  for (const inspect::PartPlace& part : weight.parts) j["parts"].push_back(part_json(part));
  if (weight.value)
    put_number(j, "value", *weight.value);
  else
    j["value"] = nullptr, j["value_reason"] = "the type has no numeric form";
  return j;
}

}  // namespace apr::cli
