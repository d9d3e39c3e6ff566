/**
 * Which packets are captured: a small language in the words of pcap-filter(7), evaluated on the decoded packet.
 *
 *     expression := term { "or" term }          "||" and "&&" and "!" mean the same as the words
 *     term       := factor { "and" factor }
 *     factor     := "not" factor | "(" expression ")" | primitive
 *     primitive  := [ "src" | "dst" ] "host" ADDRESS      | [ "src" | "dst" ] "net" PREFIX
 *                 | [ "src" | "dst" ] "port" PORT         | [ "src" | "dst" ] "portrange" PORT "-" PORT
 *                 | "link" INTERFACE       the connection passes that interface
 *                 | "flow" ID              one connection, as listed by `tcpfreeze flows`
 *                 | "touched"              the gateway made, changed or held it
 *                 | "tcp" | "icmp" | "ip" | "ip6"
 *
 * An ICMP error that the gateway makes has the ports of the connection it is about.
 */
import { TcpfreezeError } from '../base/errors.ts';
import { type Prefix, parseAddress, parsePrefix } from '../wire/address.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP } from '../wire/packet.ts';
import {
  And,
  Everything,
  Family,
  type Filter,
  Net,
  Not,
  OfFlow,
  OfLink,
  Or,
  Port,
  Protocol,
  type Side,
  Touched,
} from './filter.ts';

/** Longest expression; nobody types more, and a program gets a clear answer. */
const LENGTH_MAX = 4_096;
const DEPTH_MAX = 64;

interface Token {
  readonly text: string;
  /** Counted from 1. */
  readonly column: number;
}

const HINT = 'for example: host 10.0.0.7 and (port 443 or net 192.0.2.0/24) and not touched';

class Parser {
  readonly #tokens: readonly Token[];
  readonly #links: readonly string[];
  readonly #length: number;
  #next = 0;

  constructor(text: string, links: readonly string[]) {
    this.#tokens = [...text.matchAll(/\(|\)|&&|\|\||!|[^\s()!&|]+|[&|]/g)].map((match) => ({
      text: match[0],
      column: match.index + 1,
    }));
    this.#links = links;
    this.#length = text.length;
  }

  parse(): Filter {
    if (this.#tokens.length === 0) return new Everything();
    const filter = this.#expression(0);
    const rest = this.#tokens[this.#next];
    if (rest !== undefined) throw this.#wrong(rest, `"and" or "or" is missing before "${rest.text}"`);
    return filter;
  }

  #expression(depth: number): Filter {
    let filter = this.#term(depth);
    while (this.#accept('or', '||')) filter = new Or(filter, this.#term(depth));
    return filter;
  }

  #term(depth: number): Filter {
    let filter = this.#factor(depth);
    while (this.#accept('and', '&&')) filter = new And(filter, this.#factor(depth));
    return filter;
  }

  #factor(depth: number): Filter {
    if (depth > DEPTH_MAX) throw this.#wrong(this.#tokens[this.#next], 'it is nested too deeply');
    if (this.#accept('not', '!')) return new Not(this.#factor(depth + 1));
    if (this.#accept('(')) {
      const filter = this.#expression(depth + 1);
      if (!this.#accept(')')) throw this.#wrong(this.#tokens[this.#next], 'a ")" is missing');
      return filter;
    }
    return this.#primitive();
  }

  #primitive(): Filter {
    const side: Side = this.#accept('src') ? 'src' : this.#accept('dst') ? 'dst' : 'any';
    const word = this.#take('a word such as host, net, port, link, flow or touched');
    switch (word.text.toLowerCase()) {
      case 'host':
        return new Net(this.#host(), side);
      case 'net':
        return new Net(this.#net(), side);
      case 'port': {
        const port = this.#port(this.#take('a port'));
        return new Port(port, port, side);
      }
      case 'portrange':
        return this.#range(side);
    }
    if (side !== 'any')
      throw this.#wrong(word, `${side} goes with host, net, port or portrange, not with "${word.text}"`);
    switch (word.text.toLowerCase()) {
      case 'link':
        return this.#link();
      case 'flow':
        return this.#flow();
      case 'touched':
        return new Touched();
      case 'tcp':
        return new Protocol(PROTOCOL_TCP);
      case 'icmp':
        return new Protocol(PROTOCOL_ICMP, PROTOCOL_ICMPV6);
      case 'ip':
        return new Family(4);
      case 'ip6':
        return new Family(6);
    }
    throw this.#wrong(word, this.#proposal(word.text));
  }

  #proposal(text: string): string {
    if (parsePrefix(text) !== undefined) return `say "${text.includes('/') ? 'net' : 'host'} ${text}"`;
    if (/^\d+$/.test(text)) return `say "port ${text}"`;
    return `"${text}" is no word of this language`;
  }

  #host(): Prefix {
    const token = this.#take('an address');
    const address = parseAddress(token.text);
    if (address === undefined) throw this.#wrong(token, `"${token.text}" is no IP address`);
    return { family: address.length === 4 ? 4 : 6, address, prefixLength: 8 * address.length };
  }

  #net(): Prefix {
    const token = this.#take('a prefix');
    const prefix = parsePrefix(token.text);
    if (prefix === undefined) throw this.#wrong(token, `"${token.text}" is no prefix such as 192.0.2.0/24`);
    return prefix;
  }

  #range(side: Side): Filter {
    const token = this.#take('a range of ports');
    const match = /^(\d+)-(\d+)$/.exec(token.text);
    if (match === null) throw this.#wrong(token, `"${token.text}" is no range such as 5000-5999`);
    const from = this.#port({ ...token, text: match[1]! });
    const to = this.#port({ ...token, text: match[2]! });
    if (from > to) throw this.#wrong(token, `"${token.text}" ends before it begins`);
    return new Port(from, to, side);
  }

  #port(token: Token): number {
    const port = /^\d{1,5}$/.test(token.text) ? Number(token.text) : 65_536;
    if (port > 65_535) throw this.#wrong(token, `"${token.text}" is no port`);
    return port;
  }

  #link(): Filter {
    const token = this.#take('an interface');
    const port = this.#links.indexOf(token.text);
    if (port < 0)
      throw this.#wrong(token, `"${token.text}" is no link of the gateway; it has ${this.#links.join(', ')}`);
    return new OfLink(port);
  }

  #flow(): Filter {
    const token = this.#take('an identifier');
    const match = /^(\d{1,8})\.(\d{1,15})$/.exec(token.text);
    if (match === null) throw this.#wrong(token, `"${token.text}" is no flow such as 17.1; see "tcpfreeze flows"`);
    return new OfFlow(Number(match[1]), Number(match[2]));
  }

  #accept(...texts: readonly string[]): boolean {
    const token = this.#tokens[this.#next];
    if (token === undefined || !texts.includes(token.text.toLowerCase())) return false;
    this.#next++;
    return true;
  }

  #take(what: string): Token {
    const token = this.#tokens[this.#next];
    if (token === undefined) throw this.#wrong(undefined, `${what} is missing`);
    if (/^[()!&|]/.test(token.text)) throw this.#wrong(token, `${what} is expected`);
    this.#next++;
    return token;
  }

  #wrong(token: Token | undefined, what: string): TcpfreezeError {
    const place = token === undefined ? `at its end (column ${this.#length + 1})` : `at column ${token.column}`;
    return new TcpfreezeError('FILTER_INVALID', `the capture filter is wrong ${place}: ${what}`, HINT, 2);
  }
}

/**
 * @param text the expression; empty: every packet
 * @param links names of the gateway's links, by port
 * @throws TcpfreezeError FILTER_INVALID with the column of what is wrong
 */
export function parseFilter(text: string, links: readonly string[]): Filter {
  if (text.length > LENGTH_MAX) {
    const message = `the capture filter has ${text.length} characters; at most ${LENGTH_MAX} are read`;
    throw new TcpfreezeError('FILTER_INVALID', message, 'name a net instead of many hosts', 2);
  }
  return new Parser(text, links).parse();
}
