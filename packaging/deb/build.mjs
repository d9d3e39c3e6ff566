/**
 * Makes the Debian package with dpkg-deb: `npm run package:deb [-- --out DIR] [--no-node] [--version V]`. Prints its path.
 *
 *   --no-node   depends on the distribution's Node.js 20 or newer instead of bringing one
 *   --version   another version than that of package.json
 *   --quick     hardly compressed
 *
 * Needs a compiled tree (dist) and dpkg-deb; no root.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { lstatSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const description = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const { values: flags } = parseArgs({
  options: {
    out: { type: 'string' },
    'no-node': { type: 'boolean' },
    version: { type: 'string' },
    quick: { type: 'boolean' },
  },
});
const version = flags.version ?? description.version;
const out = resolve(flags.out ?? join(root, 'dist-deb'));
const architecture = execFileSync('dpkg', ['--print-architecture'], { encoding: 'utf8' }).trim();
const stage = mkdtempSync(join(tmpdir(), 'tcpfreeze-deb-'));
/** Where the program is; nothing else on the system looks into it. */
const LIBRARY = 'usr/lib/tcpfreeze';
const MAINTAINER = 'The tcpfreeze maintainers <maintainers@tcpfreeze.example>';

try {
  stageProgram();
  stageFiles();
  stageDocuments();
  if (!flags['no-node']) stageNode();
  normalise(stage);
  writeControl();
  mkdirSync(out, { recursive: true });
  const file = join(out, `tcpfreeze_${version}_${architecture}.deb`);
  const compression = flags.quick ? ['-Zgzip', '-z1'] : ['-Zxz', '-z6'];
  execFileSync('dpkg-deb', ['--root-owner-group', ...compression, '--build', stage, file], { stdio: 'pipe' });
  process.stdout.write(`${file}\n`);
} finally {
  rmSync(stage, { recursive: true, force: true });
}

function place(path, text, mode = 0o644) {
  const file = join(stage, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  chmodSync(file, mode);
}

function copy(from, to, mode = 0o644) {
  place(to, readFileSync(join(root, from)), mode);
}

function stageProgram() {
  cpSync(join(root, 'dist'), join(stage, LIBRARY, 'dist'), {
    recursive: true,
    filter: (path) => !/\.(map|d\.ts)$/.test(path),
  });
  // It is started by /usr/bin/tcpfreeze with the right Node.js, never by itself.
  const entry = readFileSync(join(root, 'dist/cli.js'), 'utf8').replace(/^#!.*\n/, '');
  place(`${LIBRARY}/dist/cli.js`, entry);
  copy('package.json', `${LIBRARY}/package.json`);
  for (const name of runtimePackages()) {
    const from = realpathSync(join(root, name));
    // What is needed to run: no sources of native parts, no leftovers of compiling them, no documentation.
    const needless =
      /^\/(docs?|examples?|tests?|vendor|browser)(\/|$)|\/(obj\.target|native|musl_[^/]*|\.[^/]*)(\/|$)|\.(md|map|[cm]?ts|cc?|cpp|hh?|inc|gypi?|mk|sh|html|tsbuildinfo)$|\/(Makefile|bin\.m?js|cnoke\.cjs)$/;
    cpSync(from, join(stage, LIBRARY, name), {
      recursive: true,
      filter: (path) => !needless.test(path.slice(from.length)),
    });
  }
  for (const object of files(join(stage, LIBRARY)).filter((path) => path.endsWith('.node'))) strip(object);
}

/** Folders of what is needed to run, from the lock file, as far as it is installed here. */
function runtimePackages() {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  return Object.entries(packages)
    .filter(([name, entry]) => name !== '' && entry.dev !== true && entry.devOptional !== true)
    .map(([name]) => name)
    .filter((name) => existsSync(join(root, name)) && name !== 'node_modules/nan');
}

/** [source, place, mode]; everything of other topics that a router has a use for. */
function stageFiles() {
  const list = readFileSync(join(root, 'packaging/deb/install'), 'utf8');
  for (const line of list.split('\n')) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const [from, to, mode = '644'] = line.split(/\s+/);
    copy(from, to, Number.parseInt(mode, 8));
  }
  const node = flags['no-node'] ? 'node' : `/${LIBRARY}/node`;
  place('usr/bin/tcpfreeze', `#!/bin/sh\nexec ${node} /${LIBRARY}/dist/cli.js "$@"\n`, 0o755);
}

function stageDocuments() {
  const compressed = (path, text) => place(path, gzipSync(text, { level: 9 }));
  compressed('usr/share/man/man8/tcpfreeze.8.gz', readFileSync(join(root, 'packaging/deb/tcpfreeze.8')));
  compressed('usr/share/man/man5/tcpfreeze.yaml.5.gz', readFileSync(join(root, 'packaging/deb/tcpfreeze.yaml.5')));
  const date = new Date(Number(process.env.SOURCE_DATE_EPOCH ?? Date.now() / 1000) * 1000).toUTCString().replace('GMT', '+0000');
  const log = `tcpfreeze (${version}) unstable; urgency=medium\n\n  * See README.md.\n\n -- ${MAINTAINER}  ${date}\n`;
  compressed('usr/share/doc/tcpfreeze/changelog.gz', log);
  if (!flags['no-node']) copy('packaging/deb/lintian-overrides', 'usr/share/lintian/overrides/tcpfreeze');
  copy('README.md', 'usr/share/doc/tcpfreeze/README.md');
  place('usr/share/doc/tcpfreeze/copyright', copyright());
}

/** DEP 5, with the libraries that are brought along. */
function copyright() {
  const mit = readFileSync(join(root, 'LICENSE'), 'utf8');
  const body = mit.slice(mit.indexOf('Permission')).trim().split('\n').map((line) => ` ${line === '' ? '.' : line}`).join('\n');
  const stanzas = runtimePackages().map((name) => {
    const { license, author } = JSON.parse(readFileSync(join(root, name, 'package.json'), 'utf8'));
    const holder = typeof author === 'string' ? author : (author?.name ?? `The authors of ${name.slice('node_modules/'.length)}`);
    const named = { MIT: 'Expat', ISC: 'ISC', 'Apache-2.0': 'Apache-2.0' }[license] ?? license;
    return `Files: ${LIBRARY}/${name}/*\nCopyright: ${holder}\nLicense: ${named}`;
  });
  if (!flags['no-node']) stanzas.push(`Files: ${LIBRARY}/node\nCopyright: Node.js contributors, and those named in its LICENSE\nLicense: Node.js\n The Expat licence, and those of the libraries that Node.js contains, see\n https://github.com/nodejs/node/blob/main/LICENSE`);
  return [
    'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: tcpfreeze',
    `Files: *\nCopyright: ${/Copyright \(c\) (.*)/.exec(mit)?.[1]}\nLicense: Expat`,
    ...stanzas,
    `License: Expat\n${body}`,
    'License: ISC\n Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby\n granted, provided that the above copyright notice and this permission notice appear in all copies.',
    'License: Apache-2.0\n On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.',
  ].join('\n\n') + '\n';
}

/** The Node.js that this runs on: Debian 12 has version 18 only, and the gateway must not change with the system's. */
function stageNode() {
  const node = `${LIBRARY}/node`;
  copy(relative(root, realpathSync(process.execPath)), node, 0o755);
  strip(join(stage, node));
}

function strip(file) {
  try {
    execFileSync('strip', ['--strip-unneeded', '--remove-section=.comment', file], { stdio: 'ignore' });
  } catch {
    // Without binutils it is only larger.
  }
}

function files(folder) {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => lstatSync(path).isFile());
}

/** Modes as Debian has them, whatever the umask was. */
function normalise(folder) {
  for (const name of ['', ...readdirSync(folder, { recursive: true, encoding: 'utf8' })]) {
    const path = join(folder, name);
    const state = lstatSync(path);
    if (state.isDirectory()) chmodSync(path, 0o755);
    else if (state.isFile()) chmodSync(path, (state.mode & 0o100) !== 0 && !name.includes('node_modules') ? 0o755 : 0o644);
  }
}

function writeControl() {
  const staged = files(stage).map((path) => relative(stage, path));
  const bytes = staged.reduce((sum, path) => sum + Math.ceil(lstatSync(join(stage, path)).size / 1024), 0);
  const depends = ['iproute2', 'nftables', 'netbase', 'systemd | systemd-standalone-sysusers', 'init-system-helpers (>= 1.54~)'];
  depends.push(...(flags['no-node'] ? ['nodejs (>= 20)'] : ['libc6 (>= 2.28)', 'libstdc++6', 'libgcc-s1', 'libatomic1']));
  place('DEBIAN/control', `Package: tcpfreeze
Version: ${version}
Architecture: ${architecture}
Maintainer: ${MAINTAINER}
Installed-Size: ${bytes}
Depends: ${depends.join(', ')}
Suggests: wireshark, conntrack
Section: net
Priority: optional
Homepage: https://github.com/tcpfreeze/tcpfreeze
Description: TCP freeze gateway for edge routers
 When a link of the router is lost, TCP connections across it wait: the gateway
 keeps what was under way, answers for the far side, and hands the connections
 back at full speed when the link returns. Endpoints are not modified.
 .
 It works through a TUN device; when it is not running, traffic takes the
 kernel's way.
`);
  const sums = staged.map((path) => `${createHash('md5').update(readFileSync(join(stage, path))).digest('hex')}  ${path}\n`);
  place('DEBIAN/md5sums', sums.join(''));
  place('DEBIAN/conffiles', staged.filter((path) => path.startsWith('etc/')).map((path) => `/${path}\n`).join(''));
  for (const script of ['postinst', 'prerm', 'postrm']) copy(`packaging/deb/${script}`, `DEBIAN/${script}`, 0o755);
}
