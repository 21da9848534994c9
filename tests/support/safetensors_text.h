// SafeTensors files as text, built byte by byte. It needs no test framework, so the fuzz targets use it, too.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace apr::test {

/// A number as little-endian bytes.
template <class T>
std::string le(T value) {
  std::string out(sizeof(T), '\0');
  std::memcpy(out.data(), &value, sizeof(T));
  return out;
}

/// A SafeTensors file: length, header, data.
inline std::string safetensors(std::string_view header, std::string_view data = {}) {
  return le<std::uint64_t>(header.size()).append(header).append(data);
}

/// One tensor's member of a SafeTensors header.
inline std::string tensor_json(std::string_view name, std::string_view dtype, std::string_view shape,
                               std::uint64_t begin, std::uint64_t end) {
  return "\"" + std::string(name) + "\":{\"dtype\":\"" + std::string(dtype) + "\",\"shape\":" + std::string(shape) +
         ",\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
}

}  // namespace apr::test
