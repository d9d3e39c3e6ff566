#!/usr/bin/env node
/**
 * The command `tcpfreeze`. Exit codes: 0 done; 1 it failed, and one line on standard error says why and what to do;
 * 2 wrong usage.
 */
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Argument, type Command, CommanderError, Option, program } from 'commander';
import { TcpfreezeError } from './base/errors.ts';
// Commands with many dependencies are loaded when they are used: the others start in half the time.
import { act, dhcpEvent, events, flows, reload, status } from './cli/ask.ts';
import { captureStart, captureStatus, captureStop } from './cli/capture.ts';
import { demo, outageOption } from './cli/demo.ts';
import type { DoctorFlags } from './cli/doctor.ts';
import { extcap } from './cli/extcap.ts';
import {
  captureIdArgument,
  countOption,
  durationOption,
  familyOption,
  interfacesOption,
  prefixesOption,
  rotateOption,
  secondsOption,
  snaplenOption,
} from './cli/options.ts';
import type { ReplayFlags } from './cli/replay.ts';
import type { RunFlags } from './cli/run.ts';
import { top } from './cli/top.ts';
import { LEASE_EVENTS } from './control/lease-api.ts';
import { packageVersion } from './control/version.ts';
import { FLOW_CLASSES, LOG_LEVELS } from './policy/policy.ts';

const JSON_OPTION = ['--json', 'print JSON'] as const;

function controlOption(command: Command): Command {
  return command.option(
    '--control <path>',
    'control socket (default: $TCPFREEZE_CONTROL, else /run/tcpfreeze/control.sock)',
  );
}

function selectorOptions(command: Command): Command {
  const others = (name: string): string[] => ['link', 'host', 'prefix', 'flow'].filter((other) => other !== name);
  return command
    .addOption(new Option('--link <interface>', 'what passes this interface').conflicts(others('link')))
    .addOption(new Option('--host <address>', 'what has this endpoint').conflicts(others('host')))
    .addOption(new Option('--prefix <cidr>', 'what has an endpoint in this prefix').conflicts(others('prefix')))
    .addOption(new Option('--flow <id>', 'one flow, as listed by flows').conflicts(others('flow')));
}

// Before the commands are made: they inherit it.
program
  .name('tcpfreeze')
  .description('A TCP freeze gateway: connections wait out a lost link and resume at full speed when it returns.')
  .version(packageVersion())
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'tcpfreeze: ')) });

controlOption(program.command('run').description('run the gateway in the foreground until SIGTERM or SIGINT'))
  .option('--lan <interfaces>', 'interfaces towards the hosts, separated by commas', interfacesOption)
  .option('--wan <interfaces>', 'interfaces towards the rest of the world, separated by commas', interfacesOption)
  .option('--config <file>', 'configuration (YAML); flags override it')
  .option('--journal <directory>', 'where custody is written before it is acknowledged; off: a crash loses it')
  .option('--drain <duration>', 'when stopped, give back what is held first, for at most this long', durationOption)
  .addOption(new Option('--log-level <level>', 'least level that is logged').choices(LOG_LEVELS))
  .option('--print-config', 'print the configuration in effect and where each value comes from, then end')
  .option('--no-supervisor', 'no second process that starts a dead or hanging gateway again')
  .option('--no-steering', 'bring up the TUN device only, change no rules and routes')
  .action(async (flags: RunFlags) => (await import('./cli/run.ts')).run(flags));

controlOption(program.command('status').description('links and verdicts, flows by phase, custody, counters'))
  .option(...JSON_OPTION)
  .action(status);

controlOption(program.command('flows').description('the connections that are tracked'))
  .option(...JSON_OPTION)
  .option('--frozen', 'frozen ones only')
  .action(flows);

controlOption(
  program.command('top').description('links, flows, custody and events, refreshing; plain text when not on a terminal'),
)
  .option('--interval <duration>', 'time between two refreshes', durationOption, 1)
  .option('--count <n>', 'end after so many refreshes', countOption)
  .action(top);

controlOption(program.command('events').description('what happened'))
  .option('--json', 'print JSON, one event per line')
  .option('--follow', 'go on with what happens from now on')
  .addOption(new Option('--list', 'every event that there is, with code and meaning').conflicts('follow'))
  .action(events);

controlOption(
  selectorOptions(
    program.command('freeze').description('treat a link, host, prefix or flow as lost (none named: all)'),
  ),
)
  .option('--lead <duration>', 'drain for this long first, while the link still works', durationOption)
  .option('--for <duration>', 'resume by itself after this long', durationOption)
  .option(...JSON_OPTION)
  .action((flags) => act('freeze', flags));

controlOption(selectorOptions(program.command('resume').description('release an earlier freeze')))
  .option(...JSON_OPTION)
  .action((flags) => act('resume', flags));

controlOption(program.command('abort').description('end connections now: RST to both ends'))
  .addOption(new Option('--flow <id>', 'one flow, as listed by flows').conflicts('host'))
  .addOption(new Option('--host <address>', 'all flows with this endpoint'))
  .addOption(new Option('--class <class>', 'only flows of this class').choices(FLOW_CLASSES))
  .option(...JSON_OPTION)
  .action((flags, command: Command) => {
    if (flags.flow === undefined && flags.host === undefined && flags.class === undefined)
      command.error('error: name what to end: --flow ID, --host IP or --class CLASS');
    return act('abort', flags);
  });

controlOption(program.command('reload').description('read the configuration again, without touching connections'))
  .option(...JSON_OPTION)
  .action(reload);

controlOption(program.command('dhcp-event').description('report a lease: what hooks of DHCP clients and servers call'))
  .addArgument(new Argument('<event>', 'what happened to the lease').choices(LEASE_EVENTS))
  .requiredOption('--interface <interface>', 'the link: whose lease it is, or behind which the host is')
  .option('--host', "the lease is a LAN host's, not the gateway's own")
  .option('--address <address>', 'the address concerned')
  .option('--prefix <prefix>', 'instead: the prefix concerned, delegated to the gateway (IPv6)')
  .option('--hardware <address>', "the host's hardware address")
  .option('--family <family>', 'where no address says it: 4 or 6', familyOption)
  .option('--renew <seconds>', 'from now until T1', secondsOption)
  .option('--rebind <seconds>', 'from now until T2', secondsOption)
  .option('--lease <seconds>', "from now until the lease's end", secondsOption)
  .option(...JSON_OPTION)
  .action(dhcpEvent);

const capture = program
  .command('capture')
  .description('record what passes the gateway, with its comments, for Wireshark');

controlOption(capture.command('start').description('begin a capture'))
  .requiredOption('--file <file>', 'file that ends in .pcapng; - for standard output, until its reader has enough')
  .option(
    '--filter <expression>',
    'which packets, such as "host 10.0.0.7 and port 443" (host, net, port, link, flow, touched)',
  )
  .option('--snaplen <bytes>', 'most bytes kept of a packet', snaplenOption)
  .option('--rotate <size,count>', 'go on with another file when one is full, keep so many', rotateOption)
  .option(...JSON_OPTION)
  .action(captureStart);

controlOption(capture.command('stop').description('end a capture'))
  .argument('[id]', 'which (default: all that write files)', captureIdArgument)
  .option(...JSON_OPTION)
  .action(captureStop);

controlOption(capture.command('status').description('captures that are running'))
  .option(...JSON_OPTION)
  .action(captureStatus);

controlOption(
  program.command('extcap').description("list the gateway's links in Wireshark; what its extcap folder calls"),
)
  .allowUnknownOption()
  .option('--extcap-interfaces', 'list the interfaces')
  .option('--extcap-version [version]', "Wireshark's version")
  .option('--extcap-interface <name>', 'which interface is meant')
  .option('--extcap-dlts', 'list its link types')
  .option('--extcap-config', 'list its options')
  .option('--extcap-capture-filter <expression>', 'which packets, as for capture')
  .option('--capture', 'capture')
  .option('--fifo <path>', 'where to')
  .option('--snaplen <bytes>', 'most bytes kept of a packet', snaplenOption)
  .option('--ssh <machine>', 'capture there, by ssh')
  .option('--ssh-port <port>', 'its port of ssh', countOption)
  .option('--remote-command <command>', 'how tcpfreeze is called there')
  .action(extcap);

program
  .command('replay')
  .description('run a capture through the gateway, offline: what it would have sent')
  .argument('<capture>', 'pcap or pcapng file')
  .option('--script <file>', 'link events: lines such as "+12.5 lose wan0", "+40 restore host 10.0.0.7"')
  .option('--out <file>', 'write what the gateway would have sent, with comments (pcapng)')
  .option('--lan <prefixes>', 'what is LAN (default: private addresses, else who opens)', prefixesOption)
  .addOption(
    new Option('--speed <speed>', 'recorded time, or as fast as it goes').choices(['fast', 'real']).default('fast'),
  )
  .option('--list', 'print a line for every packet that was made, changed or held')
  .addOption(new Option(...JSON_OPTION).conflicts('list'))
  .action(async (input: string, flags: ReplayFlags) => (await import('./cli/replay.ts')).replay(input, flags));

program
  .command('doctor')
  .description('what this machine lacks, with the command that mends it')
  .option('--config <file>', 'check this configuration, too')
  .option('--lan <interfaces>', 'look at what concerns these interfaces, as for run', interfacesOption)
  .option('--wan <interfaces>', 'the same, towards the rest of the world', interfacesOption)
  .option(...JSON_OPTION)
  .action(async (flags: DoctorFlags) => (await import('./cli/doctor.ts')).doctor(flags));

program
  .command('demo')
  .description('a lab on this machine: the same transfers through an outage, without and with the gateway')
  .option('--outage <seconds>', 'length of the outage', outageOption, 10)
  .option(...JSON_OPTION)
  .action(demo);

export { program };

/** Whether this file is the program that runs, by its own name or by a link. */
function isStarted(): boolean {
  return process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url);
}

async function main(): Promise<number> {
  try {
    await program.parseAsync();
    return typeof process.exitCode === 'number' ? process.exitCode : 0;
  } catch (error) {
    // Commander has printed its message, the help or the version already; its only failures are those of usage.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (error instanceof TcpfreezeError) {
      process.stderr.write(`tcpfreeze: ${error.line()}\n`);
      return error.exitCode;
    }
    process.stderr.write(`tcpfreeze: ${error instanceof Error ? error.stack : String(error)}\n`);
    return 1;
  }
}

// A reader that has seen enough (`| head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
});

// Not when the documents are made from the commands.
if (isStarted()) process.exitCode = await main();
