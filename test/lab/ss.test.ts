import { describe, expect, test } from 'vitest';
import { parseSs } from '../../src/lab/ss.ts';

// Recorded with iproute2 6.1 on Linux 6.18 in the `router` lab: a bulk sender in loss recovery, the same one in RTO back-off, its
// receiver, and an IPv6 connection that is being closed.
const RECOVERY =
  'ESTAB 0      2696176   10.81.1.2:39106   10.81.2.2:5800 cubic wscale:10,10 rto:292 rtt:88.875/0.172 mss:1448 pmtu:1500 rcvmss:536 ' +
  'advmss:1448 cwnd:548 ssthresh:539 bytes_sent:10486455 bytes_retrans:46336 bytes_acked:8741616 segs_out:7245 segs_in:3675 ' +
  'data_segs_out:7243 send 71426520bps lastrcv:1020 pacing_rate 182527360bps delivery_rate 95394728bps delivered:6664 busy:1016ms ' +
  'unacked:1173 retrans:32/32 lost:32 sacked:625 rcv_space:14480 rcv_ssthresh:64088 notsent:997672 minrtt:40.493 snd_wnd:3632128';
const BACKOFF =
  'ESTAB 0      2955368   10.81.1.2:39106   10.81.2.2:5800 cubic wscale:10,10 rto:2176 backoff:3 rtt:70.977/0.326 mss:1448 pmtu:1500 ' +
  'rcvmss:536 advmss:1448 cwnd:1 ssthresh:415 bytes_sent:20544263 bytes_retrans:59368 bytes_acked:19624784 segs_out:14191 ' +
  'segs_in:7491 data_segs_out:14189 send 163208bps lastsnd:1876 lastrcv:5868 lastack:4016 pacing_rate 116334104bps ' +
  'delivery_rate 95641824bps delivered:13555 busy:5864ms unacked:594 retrans:1/41 lost:594 rcv_space:14480 rcv_ssthresh:64088 ' +
  'notsent:2095256 minrtt:40.493 snd_wnd:5587968';
const RECEIVER =
  'ESTAB 0      0      [::ffff:10.81.2.2]:5800 [::ffff:10.81.1.2]:39106 cubic wscale:10,10 rto:244 rtt:40.987/20.493 ato:80 mss:1448 ' +
  'pmtu:1500 rcvmss:1448 advmss:1448 cwnd:10 bytes_received:19866599 segs_out:7583 segs_in:13723 data_segs_in:13721 send 2826262bps ' +
  'lastsnd:5852 lastrcv:4024 lastack:4024 pacing_rate 5652520bps delivered:1 app_limited rcv_rtt:70 rcv_space:1492888 ' +
  'rcv_ssthresh:5587531 minrtt:40.987 rcv_ooopack:1231 snd_wnd:64512';
const SIX =
  'FIN-WAIT-1 0      1       [fd81:1::2]:56908 [fd81:2::2]:5800 cubic wscale:10,10 rto:356 rtt:105.292/62.257 ato:40 mss:1428 pmtu:1500 ' +
  'rcvmss:536 advmss:1428 cwnd:10 bytes_sent:43 bytes_acked:44 bytes_received:6 segs_out:6 segs_in:4 data_segs_out:2 data_segs_in:1 ' +
  'send 1084983bps lastsnd:5772 lastrcv:5728 lastack:5728 pacing_rate 2169952bps delivery_rate 485176bps delivered:3 app_limited ' +
  'busy:72ms unacked:1 rcv_space:14280 rcv_ssthresh:64108 minrtt:46.161 snd_wnd:64512';

describe('parseSs', () => {
  test('a sender in loss recovery', () => {
    expect(parseSs(RECOVERY)).toEqual([
      {
        state: 'ESTAB',
        local: '10.81.1.2:39106',
        peer: '10.81.2.2:5800',
        congestion: 'cubic',
        cwnd: 548,
        ssthresh: 539,
        rtoMillis: 292,
        backoff: 0,
        rttMillis: 88.875,
        mss: 1448,
        unacked: 1173,
        lost: 32,
        sacked: 625,
        retransmitsNow: 32,
        retransmitsTotal: 32,
        bytesRetransmitted: 46_336,
        bytesSent: 10_486_455,
        bytesAcked: 8_741_616,
        bytesReceived: 0,
        deliveryRate: 95_394_728 / 8,
        sendQueue: 2_696_176,
      },
    ]);
  });

  test('back-off', () => {
    expect(parseSs(BACKOFF)[0]).toMatchObject({
      rtoMillis: 2176,
      backoff: 3,
      cwnd: 1,
      lost: 594,
      retransmitsTotal: 41,
    });
  });

  test('absent fields are zero, an infinite ssthresh undefined', () => {
    expect(parseSs(RECEIVER)[0]).toMatchObject({
      ssthresh: undefined,
      retransmitsNow: 0,
      retransmitsTotal: 0,
      lost: 0,
      deliveryRate: 0,
      bytesReceived: 19_866_599,
      peer: '[::ffff:10.81.1.2]:39106',
    });
  });

  test('flags before the congestion control, and rates with a unit, as other versions print them', () => {
    const other =
      'ESTAB 0 0 10.0.0.1:1 10.0.0.2:2 timer:(on,1.2sec,0) ts sack ecn bbr rto:240 cwnd:10 delivery_rate 1.5Mbps';
    expect(parseSs(other)[0]).toMatchObject({ congestion: 'bbr', rtoMillis: 240, deliveryRate: 187_500 });
  });

  test('several lines, IPv6, other states; anything else is left out', () => {
    const readings = parseSs(`\n${RECOVERY}\nno socket at all\n${SIX}\n`);
    expect(readings.map((one) => one.state)).toEqual(['ESTAB', 'FIN-WAIT-1']);
    expect(readings[1]).toMatchObject({ local: '[fd81:1::2]:56908', congestion: 'cubic', sendQueue: 1 });
  });

  test('nothing', () => {
    expect(parseSs('')).toEqual([]);
  });
});
