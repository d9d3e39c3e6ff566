// Sends ICMP errors to an address as fast as it goes for some milliseconds, then prints how many.
import raw from 'raw-socket';

const [address, millis] = process.argv.slice(2);
const socket = raw.createSocket({ protocol: raw.Protocol.ICMP });
const message = Buffer.alloc(36);
message[0] = 3;
message.set([0x45], 8);
socket.on('error', () => {});
raw.writeChecksum(message, 2, raw.createChecksum(message));
const end = performance.now() + Number(millis);
let sent = 0;
function burst() {
  if (performance.now() > end) {
    process.stdout.write(String(sent));
    process.exit(0);
  }
  let open = 100;
  for (let i = 0; i < 100; i++) {
    socket.send(message, 0, message.length, address, (error) => {
      if (error === null) sent++;
      if (--open === 0) setImmediate(burst);
    });
  }
}
burst();
