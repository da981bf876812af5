// Reads a sentence as the package does (data/pictures/captions.py, `parse`), with the same words for what is wrong.
const sentences = (grammar) => {
  const { words, counts, kinds, sizes, sky, lights } = grammar;
  const numbers = new Map(words.map((word, k) => [word, k + 1]));
  const [group, relation, tail] = ["group", "relation", "tail"].map((name) => new RegExp(grammar[name]));
  const wrong = (text) => { throw new Error(text); };

  // The tokens of a sentence, padded with 0; an Error says what is wrong with it.
  const tokens = (text) => {
    const said = text.toLowerCase().match(/[^\s,.;!]+/g) ?? [];
    if (!said.length) wrong('the prompt is empty; say what to draw, such as "a tall red tree at night"');
    if (said.length > grammar.longest)
      wrong(`a caption has at most ${grammar.longest} words, this one has ${said.length}: say less`);
    known(said);
    parse(said.join(" "), text);
    return [...said.map((word) => numbers.get(word)), ...Array(grammar.longest - said.length).fill(0)];
  };

  const known = (said) => {
    const unknown = [...new Set(said)].filter((word) => !numbers.has(word));
    if (!unknown.length) return;
    const hints = unknown.map((word) => {
      if (Object.hasOwn(grammar.instead, word)) return grammar.instead[word];
      const near = nearest(word, words, grammar.near);
      return near && `the nearest is "${near}"`;
    });
    const says = unknown.map((word, k) => `the word "${word}" is not known here${hints[k] ? `; ${hints[k]}` : ""}`);
    if (!hints.every(Boolean)) says.push(`the words are: ${words.join(", ")}`);
    wrong(says.join("; "));
  };

  const parse = (whole, text) => {
    const groups = [readGroup(whole, text)];
    let rest = groups[0].rest;
    const joined = relation.exec(rest);
    if (joined) {
      groups.push(readGroup(rest.slice(joined[0].length), text));
      rest = groups[1].rest;
    }
    const end = tail.exec(rest);
    if (!end) wrong(`cannot read "${rest}" in "${text}"; ${whatFollows(rest)}`);
    possible(groups, end.groups, text);
  };

  const readGroup = (rest, text) => {
    const found = group.exec(rest);
    if (!found) wrong(`cannot read "${rest}" in "${text}"; ${whatIsWrong(rest)}, as in ${grammar.examples}`);
    const { count, kind, plural, size = "", species } = found.groups;
    const number = counts[count];
    if ((number > 1) !== Boolean(plural))
      wrong(`"${found[0].trim()}": ${count} goes with ${kind}${number > 1 ? "s" : ""}`);
    if (!sizes[kind].includes(size) || (species && kind !== "tree"))
      wrong(`"${found[0].trim()}": a ${kind} is ${sizes[kind][0]} or ${sizes[kind][2]}; only trees have species`);
    return { count: number, kind, rest: rest.slice(found[0].length) };
  };

  const whatIsWrong = (rest) => {
    const said = ` ${rest}`.split(/ (?:left|right|above|in|by|at|under)\b/)[0].split(" ").filter(Boolean);
    if (!said.length) return "a group of things is missing here";
    if (!Object.hasOwn(counts, said[0])) return 'how many comes first: "a", "two" or "three"';
    if (!said.some((word) => kinds.includes(word.replace(/s$/, ""))))
      return `say what it is: ${kinds.slice(0, -1).join(", ")} or ${kinds.at(-1)}`;
    return "the order is how many, size, colour, species, and the thing last";
  };

  // Why this cannot follow the things: the first pattern that fits.
  const whatFollows = (rest) => {
    for (const [pattern, says] of grammar.after) {
      const found = new RegExp(`^(?:${pattern})`).exec(rest);
      if (found) return says.replace("{}", found[1]);
    }
  };

  const possible = (groups, end, text) => {
    const count = groups.reduce((sum, each) => sum + each.count, 0);
    if (groups.length > 1 && groups[0].kind === groups[1].kind)
      wrong(`"${text}": the two groups must be of different kinds, both are ${groups[0].kind}s`);
    if (count > grammar.most)
      wrong(`"${text}": ${count} things are too many for one small picture, ${grammar.most} fit`);
    if (end.sky && !lights[sky[end.sky]].includes(end.light ?? null))
      wrong(`"${text}": no ${end.light} in this sky; day has a sun, night a moon, dusk either`);
  };

  // The word most alike (difflib.get_close_matches): twice the letters in common, as a share of all letters.
  const nearest = (word, words, cutoff) => {
    let best = [cutoff, ""];
    for (const each of words) {
      const ratio = 2 * common(each, word) / (each.length + word.length);
      if (ratio > best[0] || (ratio === best[0] && each > best[1])) best = [ratio, each];
    }
    return best[1];
  };

  // The longest stretch in both, and the same to the left and to the right of it.
  const common = (a, b) => {
    let [size, i, j] = [0, 0, 0];
    for (let k = 0; k < a.length; k++)
      for (let l = 0; l < b.length; l++) {
        let n = 0;
        while (k + n < a.length && a[k + n] === b[l + n]) n++;
        if (n > size) [size, i, j] = [n, k, l];
      }
    if (!size) return 0;
    return size + common(a.slice(0, i), b.slice(0, j)) + common(a.slice(i + size), b.slice(j + size));
  };

  return { tokens };
};
