/**
 * Manual pages and shell completion, made from the commands themselves and from the schema of the configuration, so that
 * neither can lack what the program knows.
 */
import type { Command, Option } from 'commander';
import { configKeys } from '../control/config-table.ts';

/** Text for troff: backslashes, and dots and quotes at the start of a line, mean something there. */
function troff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/gm, '\\&$1');
}

function visible(command: Command): Option[] {
  return command.options.filter((option) => !option.hidden);
}

function usageOf(command: Command): string {
  const operands = command.registeredArguments.map((one) =>
    one.required ? `\\fI${one.name()}\\fR` : `[\\fI${one.name()}\\fR]`,
  );
  return [...(visible(command).length > 0 ? ['[options]'] : []), ...operands].join(' ');
}

function optionLines(option: Option): string[] {
  const choices = option.argChoices === undefined ? '' : `; one of ${option.argChoices.join(', ')}`;
  return ['.TP', `.B ${troff(option.flags)}`, troff(`${option.description}${choices}`)];
}

/** tcpfreeze(8). @param version of the package */
export function commandManual(program: Command, version: string): string {
  const lines = [
    `.TH TCPFREEZE 8 "" "tcpfreeze ${version}" "System Manager's Manual"`,
    '.SH NAME',
    'tcpfreeze \\- TCP freeze gateway: connections wait out a lost link',
    '.SH SYNOPSIS',
    '.B tcpfreeze',
    '.I command',
    '[options]',
    '.SH DESCRIPTION',
    troff(program.description()),
    '.PP',
    'The gateway runs in the foreground as',
    '.BR "tcpfreeze run" ,',
    'mostly as the service tcpfreeze.service; the other commands talk to it over its control socket or need none.',
    '.SH COMMANDS',
  ];
  for (const command of program.commands) {
    lines.push('.SS', `tcpfreeze ${command.name()} ${usageOf(command)}`.trim(), '.PP', troff(command.description()));
    for (const option of visible(command)) lines.push(...optionLines(option));
  }
  lines.push(
    '.SH EXIT STATUS',
    '.TP',
    '.B 0',
    'done',
    '.TP',
    '.B 1',
    'it failed; one line on standard error says why and what to do',
    '.TP',
    '.B 2',
    'wrong usage',
    '.SH FILES',
    '.TP',
    '.I /etc/tcpfreeze/tcpfreeze.yaml',
    'configuration of the service, see',
    '.BR tcpfreeze.yaml (5)',
    '.TP',
    '.I /run/tcpfreeze/control.sock',
    'control socket; members of the group tcpfreeze may use it',
    '.SH ENVIRONMENT',
    '.TP',
    '.B TCPFREEZE_CONTROL',
    'path of the control socket, where no option names it',
    '.SH SEE ALSO',
    '.BR tcpfreeze.yaml (5),',
    '.BR ip\\-rule (8),',
    '.BR nft (8)',
  );
  return `${lines.join('\n')}\n`;
}

/** tcpfreeze.yaml(5). */
export function configManual(version: string): string {
  const lines = [
    `.TH TCPFREEZE.YAML 5 "" "tcpfreeze ${version}" "File Formats Manual"`,
    '.SH NAME',
    'tcpfreeze.yaml \\- configuration of the TCP freeze gateway',
    '.SH DESCRIPTION',
    'YAML 1.2. Every key is optional; an unknown key or a bad value is an error that names line and column. Check a file with',
    '.BR "tcpfreeze doctor \\-\\-config" ,',
    'see what is in effect with',
    '.BR "tcpfreeze run \\-\\-print\\-config" .',
    'Durations are written 500ms, 10s, 2m, 1h; sizes 65536, 512KiB, 64MiB.',
    '.SH KEYS',
  ];
  for (const { key, values, fallback, meaning } of configKeys()) {
    const by = fallback === '' ? '' : ` Default: ${fallback}.`;
    lines.push('.TP', `.B ${troff(key)}`, troff(`${meaning}. Values: ${values}.${by}`));
  }
  lines.push('.SH SEE ALSO', '.BR tcpfreeze (8)');
  return `${lines.join('\n')}\n`;
}

/** Completion for bash: commands, their options, choices, interfaces and files. */
export function bashCompletion(program: Command): string {
  const cases = program.commands.map((command) => {
    const words = visible(command).flatMap(({ long }) => (long === undefined || long === null ? [] : [long]));
    return `    ${command.name()}) words='${words.join(' ')}' ;;`;
  });
  const values = new Map<string, string>();
  for (const option of program.commands.flatMap(visible)) {
    if (option.long === undefined || option.long === null || option.isBoolean()) continue;
    if (option.argChoices !== undefined)
      values.set(option.long, `compgen -W '${option.argChoices.join(' ')}' -- "$current"`);
    else if (/<(interface|interfaces)>/.test(option.flags))
      values.set(option.long, 'compgen -W "$(ls /sys/class/net)" -- "$current"');
    else if (/<(file|path)>/.test(option.flags)) values.set(option.long, 'compgen -f -- "$current"');
    else values.set(option.long, ':');
  }
  const options = [...values].map(([name, reply]) => `    ${name}) mapfile -t COMPREPLY < <(${reply}); return ;;`);
  const commands = program.commands.map((command) => command.name()).join(' ');
  return `# Completion of tcpfreeze(8) for bash.
_tcpfreeze() {
  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD - 1]} words=''
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W '${commands} help --help --version' -- "$current")
    return
  fi
  case $before in
${options.join('\n')}
  esac
  case \${COMP_WORDS[1]} in
${cases.join('\n')}
  esac
  case $current in
    -*) mapfile -t COMPREPLY < <(compgen -W "$words --help" -- "$current") ;;
    *) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
  esac
}
complete -F _tcpfreeze tcpfreeze
`;
}
