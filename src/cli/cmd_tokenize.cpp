// apr tokenize: a text as the token ids that a model sees, and back.
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <memory>

#include <CLI/CLI.hpp>

#include "apr/core/text.h"
#include "apr/model/tokenizer.h"
#include "src/cli/commands.h"
#include "src/cli/input.h"
#include "src/cli/json_document.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

constexpr std::size_t kMaxTextBytes = 1u << 30;  // the limit of the tokenizer

struct TokenizeCommand {
  std::string path, file;
  std::vector<std::string> words;  // the text, or with --decode the ids
  bool decode = false, ids_only = false, no_add_special = false, no_parse_special = false, skip_special = false;
};

std::string read_input(const TokenizeCommand& command) {
  if (!command.file.empty()) return read_text_file(command.file, kMaxTextBytes);
  const bool from_stdin = command.words.empty() || (command.words.size() == 1 && command.words[0] == "-");
  if (!from_stdin) return fmt::format("{}", fmt::join(command.words, " "));
  if (command.words.empty() && ::isatty(STDIN_FILENO) == 1) {
    throw Error(ErrorCode::Usage, command.decode ? "there are no ids" : "there is no text")
        .want("on the command line, with -f FILE, or on standard input")
        .help(command.decode ? "apr tokenize model.gguf --decode 1 2 3" : "apr tokenize model.gguf \"Hello, world\"");
  }
  return read_stdin(kMaxTextBytes);
}

/// Numbers with white space, commas or brackets between them: what --ids and JSON print.
std::vector<std::int32_t> parse_ids(std::string_view text, const model::Tokenizer& tokenizer) {
  constexpr std::string_view kBetween = " \t\r\n,[]";
  std::vector<std::int32_t> ids;
  for (std::size_t at = text.find_first_not_of(kBetween); at != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_of(kBetween, at), text.size());
    const std::string_view word = text.substr(at, end - at);
    const auto id = parse_u64(word);
    if (!id || *id >= static_cast<std::uint64_t>(tokenizer.n_vocab())) {
      throw Error(ErrorCode::Usage, fmt::format("token {} is no id of this vocabulary", ids.size() + 1))
          .in("--decode")
          .want(fmt::format("a number from 0 to {}", tokenizer.n_vocab() - 1))
          .got(escaped(word, 40));
    }
    ids.push_back(static_cast<std::int32_t>(*id));
    at = text.find_first_not_of(kBetween, end);
  }
  return ids;
}

Json tokenizer_json(const model::Tokenizer& tokenizer) {
  Json j;
  j["kind"] = model::name(tokenizer.kind());
  put_text(j, "model", tokenizer.model_name());
  if (tokenizer.pre_tokenizer().empty())
    j["pre_tokenizer"] = nullptr;
  else
    put_text(j, "pre_tokenizer", tokenizer.pre_tokenizer());
  j["n_vocab"] = tokenizer.n_vocab();
  j["adds_bos"] = tokenizer.adds_bos();
  j["adds_eos"] = tokenizer.adds_eos();
  j["adds_space_prefix"] = tokenizer.adds_space_prefix();
  return j;
}

Json start_document(const Context& context, const model::Tokenizer& tokenizer, std::string_view mode) {
  Json document = make_document(context, "apr.tokenize/1");
  document["mode"] = mode;
  document["tokenizer"] = tokenizer_json(tokenizer);
  return document;
}

struct Encoded {
  std::string text;
  model::EncodeOptions options;
  std::vector<std::int32_t> ids;
  model::TokenOffsets offsets;  // not filled for --ids
};

Json encoded_json(const Context& context, const model::Tokenizer& tokenizer, const Encoded& encoded) {
  Json document = start_document(context, tokenizer, "encode");
  document["text_bytes"] = encoded.text.size();
  document["add_special"] = encoded.options.add_special;
  document["parse_special"] = encoded.options.parse_special;
  document["n_tokens"] = encoded.ids.size();
  document["ids"] = encoded.ids;
  document["tokens"] = Json::array();
  for (std::size_t i = 0; i < encoded.ids.size(); ++i) {
    Json token;
    token["id"] = encoded.ids[i];
    put_text(token, "piece", tokenizer.piece(encoded.ids[i]));
    token["kind"] = model::name(tokenizer.kind_of(encoded.ids[i]));
    const auto& begin = encoded.offsets.begin[i];
    token["offset"] = begin ? Json(*begin) : Json(nullptr);
    document["tokens"].push_back(std::move(token));
  }
  const auto& reason = encoded.offsets.absent_reason;
  document["offsets_reason"] = reason.empty() ? Json(nullptr) : Json(reason);
  return document;
}

std::string encoded_text(const Context& context, const model::Tokenizer& tokenizer, const Encoded& encoded) {
  std::string out = fmt::format("{} tokens of {} bytes; {}{}{}\n", grouped(encoded.ids.size()),
                                grouped(encoded.text.size()), model::name(tokenizer.kind()),
                                tokenizer.pre_tokenizer().empty() ? "" : ", ", escaped(tokenizer.pre_tokenizer()));
  Table table({{"token", Align::Right}, {"id", Align::Right}, {"offset", Align::Right}, {"piece"}, {"kind"}});
  for (std::size_t i = 0; i < encoded.ids.size(); ++i) {
    const std::int32_t id = encoded.ids[i];
    const auto kind = tokenizer.kind_of(id);
    const auto& begin = encoded.offsets.begin[i];
    table.add({{std::to_string(i), Role::Dim},
               {std::to_string(id), Role::Number},
               {begin ? std::to_string(*begin) : "", Role::Offset},
               {"\"" + escaped(tokenizer.piece(id)) + "\"", Role::Text},
               {kind == model::TokenKind::Normal ? "" : std::string(model::name(kind)), Role::Type}});
  }
  if (!table.empty()) table.append_to(out, context.style);
  if (!encoded.offsets.absent_reason.empty()) out += "No offsets behind: " + encoded.offsets.absent_reason + ".\n";
  return out;
}

int encode(const TokenizeCommand& command, Context& context, const model::Tokenizer& tokenizer) {
  Encoded encoded;
  encoded.text = read_input(command);
  encoded.options = {.add_special = !command.no_add_special, .parse_special = !command.no_parse_special};
  encoded.ids = tokenizer.encode(encoded.text, encoded.options);
  if (command.ids_only && !context.globals.json) {
    context.out.write(fmt::format("{}\n", fmt::join(encoded.ids, " ")));
    return 0;
  }
  encoded.offsets = tokenizer.offsets(encoded.text, encoded.ids, encoded.options);
  context.out.write(context.globals.json ? to_text(encoded_json(context, tokenizer, encoded))
                                         : encoded_text(context, tokenizer, encoded));
  return 0;
}

int decode(const TokenizeCommand& command, Context& context, const model::Tokenizer& tokenizer) {
  const auto ids = parse_ids(read_input(command), tokenizer);
  if (ids.empty()) throw Error(ErrorCode::Usage, "there are no ids").in("--decode").want("token ids").got("none");
  const std::string text = tokenizer.decode(ids, {.keep_special = !command.skip_special});
  if (context.globals.json) {
    Json document = start_document(context, tokenizer, "decode");
    document["n_tokens"] = ids.size();
    document["ids"] = ids;
    put_text(document, "text", text);
    context.out.write(to_text(document));
  } else if (::isatty(STDOUT_FILENO) == 1) {  // a person: safe to look at, and the prompt on a line of its own
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      context.out.write(escaped(std::string_view(text).substr(at, end - at), text.size()) + "\n");
      at = end + 1;
    }
  } else {  // a program: the bytes
    context.out.write(text);
  }
  return 0;
}

int run_tokenize(const TokenizeCommand& command, Context& context) {
  if (!command.decode && command.words.size() > 1) {
    throw Error(ErrorCode::Usage, "unexpected argument")
        .want("one TEXT; quote it when it has spaces")
        .got(command.words[1]);
  }
  context.file = FileFacts{command.path, std::nullopt, {}};
  const format::ModelFile model = format::open_model(command.path);
  context.file->size_bytes = model.total_bytes();
  context.file->format = format::name(model.format);
  context.findings = model.findings;
  model.require_sound();
  const model::Tokenizer tokenizer = model::Tokenizer::from_model(model);
  context.findings.insert(context.findings.end(), tokenizer.findings().begin(), tokenizer.findings().end());
  const bool for_a_person = !command.decode && !command.ids_only && !context.globals.json && !context.globals.quiet;
  for (const Finding& finding : tokenizer.findings())
    spdlog::log(for_a_person ? spdlog::level::warn : spdlog::level::info, "{}", escaped(finding.message));
  model.check_intact();
  return command.decode ? decode(command, context, tokenizer) : encode(command, context, tokenizer);
}

}  // namespace

Run setup_tokenize(CLI::App& command) {
  auto o = std::make_shared<TokenizeCommand>();
  command.add_option("MODEL", o->path, "GGUF, APR or SafeTensors model")->required();
  auto* words =
      command.add_option("TEXT", o->words, "What to tokenize, or with --decode ids; - or nothing reads standard input");
  command.add_option("-f,--file", o->file, "Read the text or the ids from a file")->excludes(words);
  auto* decode = command.add_flag("--decode", o->decode, "From ids to text: the exact bytes, escaped on a terminal");
  command.add_flag("--ids", o->ids_only, "Print the ids alone, on one line")->excludes(decode);
  command
      .add_flag("--no-add-special", o->no_add_special,
                "Without the tokens that the model puts around a text (BOS, EOS)")
      ->excludes(decode);
  command
      .add_flag("--no-parse-special", o->no_parse_special,
                "The text of a control token is text like any other; user-defined tokens are still found")
      ->excludes(decode);
  command.add_flag("--skip-special", o->skip_special, "Leave control and unknown tokens out of the text")
      ->needs(decode);
  command.footer(
      "  apr tokenize model.gguf \"Why is the sky blue?\"\n"
      "  apr tokenize model.gguf \"<|im_start|>user\" --no-parse-special\n"
      "  apr tokenize model.gguf -f book.txt --ids | wc -w\n"
      "  apr tokenize model.gguf --decode 504 3575 314");
  return [o](Context& context) { return run_tokenize(*o, context); };
}

}  // namespace apr::cli
