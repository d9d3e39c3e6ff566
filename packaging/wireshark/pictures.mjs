/**
 * Makes the pictures of the README: records one outage in the lab with `tcpfreeze capture`, and lets Wireshark show it on a virtual screen.
 *
 *     npm run build && sudo node packaging/wireshark/pictures.mjs
 *
 * Needs, besides what the lab needs, the Debian packages wireshark, xvfb, xdotool and imagemagick.
 */
import { execFileSync, spawn } from 'node:child_process';
import { chownSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { LabGateway } from '../../dist/lab/gateway.js';
import { assertLabPossible, Lab } from '../../dist/lab/topology.js';
import { Traffic } from '../../dist/lab/traffic-handle.js';

const HERE = dirname(fileURLToPath(import.meta.url));
const TARGET = join(HERE, '../../captures/pictures');
const LINK = { rateBps: 2e6, delayMillis: 20, queuePackets: 30 };
const OUTAGE_MILLIS = 4_000;
const [WIDTH, HEIGHT] = [1500, 620];
/** Wireshark is run by somebody who may do nothing else. */
const NOBODY = 65_534;

/** An upload through a lost carrier, and a connection that is idle meanwhile. */
async function record(file) {
  const lab = await Lab.create({ topology: 'router', link: LINK });
  try {
    const gateway = await LabGateway.start(lab);
    const traffic = await Traffic.start(lab);
    await gateway.command('capture', 'start', '--file', file, '--filter', 'ip', '--snaplen', '128');
    const flow = await traffic.open({ family: 4, mode: 'upload', bytes: 400_000 });
    const finished = flow.finished();
    while ((await flow.received()) < 100_000) await sleep(10);
    await lab.link.cut('carrier');
    await sleep(OUTAGE_MILLIS);
    await lab.link.restore();
    await finished;
    await sleep(300);
    await gateway.command('capture', 'stop');
    await traffic.stop();
    await gateway.stop();
  } finally {
    await lab.dispose();
  }
}

function profile(home) {
  const folder = join(home, '.config/wireshark');
  const plugins = join(home, '.local/lib/wireshark/plugins');
  mkdirSync(folder, { recursive: true });
  mkdirSync(plugins, { recursive: true });
  copyFileSync(join(HERE, 'tcpfreeze.colours'), join(folder, 'colorfilters'));
  copyFileSync(join(HERE, 'tcpfreeze.lua'), join(plugins, 'tcpfreeze.lua'));
  const columns = [
    ...['No.', '%m', 'Time', '%t', 'Interface', '%Cus:frame.interface_name:0:R', 'Source', '%s', 'Destination', '%d'],
    ...['Action', '%Cus:tcpfreeze.action:0:R', 'Custody', '%Cus:tcpfreeze.custody:0:R', 'In words', '%Cus:tcpfreeze.words:0:R'],
  ];
  const preferences = [
    `gui.column.format: ${columns.map((one) => `"${one}"`).join(', ')}`,
    'privs.warn_if_elevated: FALSE',
    'gui.update.enabled: FALSE',
    'nameres.network_name: FALSE',
    'gui.packet_list_show_minimap: TRUE',
  ];
  const recent = [
    'gui.geometry_main_x: 0',
    'gui.geometry_main_y: 0',
    `gui.geometry_main_width: ${WIDTH}`,
    `gui.geometry_main_height: ${HEIGHT}`,
    'gui.geometry_main_maximized: FALSE',
    'gui.toolbar_main_show: FALSE',
    'gui.byte_view_show: FALSE',
    'gui.packet_diagram_show: FALSE',
    `gui.geometry_main_upper_pane: ${Math.round(HEIGHT * 0.62)}`,
  ];
  writeFileSync(join(folder, 'preferences'), `${preferences.join('\n')}\n`);
  writeFileSync(join(folder, 'recent_common'), `${recent.join('\n')}\n`);
  writeFileSync(join(folder, 'recent'), 'gui.column.width: %m, 50, %t, 80, %Cus:frame.interface_name, 70, %s, 90, %d, 90, %Cus:tcpfreeze.action, 100, %Cus:tcpfreeze.custody, 65, %Cus:tcpfreeze.words, 700\n');
  for (const entry of [home, ...readdirSync(home, { recursive: true }).map((name) => join(home, name))]) {
    chownSync(entry, NOBODY, NOBODY);
  }
}

/** One window, one picture. */
async function picture(name, file, home, display, args) {
  const environment = { ...process.env, HOME: home, XDG_RUNTIME_DIR: home, DISPLAY: display, QT_LOGGING_RULES: '*=false' };
  const wireshark = spawn('wireshark', ['-r', file, ...args], { env: environment, uid: NOBODY, gid: NOBODY, stdio: 'ignore' });
  try {
    // The window that says "loading" has another name.
    const find = ['search', '--sync', '--onlyvisible', '--name', 'frozen-outage'];
    const [window] = execFileSync('xdotool', find, { env: environment, encoding: 'utf8', timeout: 90_000 }).split('\n');
    const place = ['windowmove', window, '0', '0', 'windowsize', window, String(WIDTH), String(HEIGHT)];
    execFileSync('xdotool', place, { env: environment });
    await sleep(5_000);
    const target = join(TARGET, `${name}.png`);
    execFileSync('import', ['-window', 'root', '+dither', '-colors', '48', '-strip', target], { env: environment });
    process.stdout.write(`${target}\n`);
  } finally {
    wireshark.kill('SIGKILL');
  }
}

/** Frame number of the `index`-th packet of an action; of the last one where there are fewer. */
function numberOf(file, action, index) {
  const lua = `lua_script:${join(HERE, 'tcpfreeze.lua')}`;
  const args = ['-n', '-r', file, '-X', lua, '-Y', `tcpfreeze.action == "${action}"`, '-T', 'fields', '-e', 'frame.number'];
  const output = execFileSync('tshark', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const numbers = output.trim().split('\n');
  return numbers[Math.min(index, numbers.length - 1)];
}

await assertLabPossible();
const home = mkdtempSync(join(tmpdir(), 'tcpfreeze-pictures-'));
const display = `:${100 + (process.pid % 800)}`;
const screen = spawn('Xvfb', [display, '-screen', '0', `${WIDTH}x${HEIGHT}x24`, '-nolisten', 'tcp'], { stdio: 'ignore' });
try {
  mkdirSync(TARGET, { recursive: true });
  const file = join(home, 'frozen-outage.pcapng');
  await record(file);
  profile(home);
  await picture('frozen', file, home, display, ['-Y', 'tcpfreeze || frame.number > 60', '-g', numberOf(file, 'custody-ack', 6)]);
  await picture('thawed', file, home, display, ['-Y', 'tcpfreeze', '-g', numberOf(file, 'ack-clock', 1)]);
} finally {
  screen.kill();
  rmSync(home, { recursive: true, force: true });
}
