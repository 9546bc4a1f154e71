#!/usr/bin/python3
"""A client's writer: `write DEVICE LOG` writes numbered records of 4 KiB straight to the device, one after the other, and
logs each when it is acknowledged, with the seconds it took. `verify DEVICE FIRST LAST` reads them and counts bad ones."""
import hashlib, mmap, os, sys, time

SIZE, RECORDS = 4096, 8192


def record(number):
    head = b"record %d " % number
    body = hashlib.sha256(head).digest() * (SIZE // 32)
    return (head + body)[:SIZE]


def write(device, log):
    disk = os.open(device, os.O_RDWR | os.O_DIRECT | os.O_SYNC)
    page = mmap.mmap(-1, SIZE)
    with open(log, "w", buffering=1) as acknowledged:
        number = 0
        while number < 1 << 30:
            page.seek(0)
            page.write(record(number))
            began = time.monotonic()
            try:
                os.pwritev(disk, [page], number % RECORDS * SIZE)
            except OSError as error:
                acknowledged.write("ERROR %d %s\n" % (number, error))
                time.sleep(0.2)
                continue
            acknowledged.write("%d %.3f\n" % (number, time.monotonic() - began))
            number += 1
            time.sleep(0.02)


def verify(device, first, last):
    bad = 0
    with open(device, "rb", buffering=0) as disk:
        # One more than acknowledged may have reached the disk: then that one stands in the oldest one's place.
        for number in range(max(first, last - RECORDS + 2), last + 1):
            disk.seek(number % RECORDS * SIZE)
            bad += disk.read(SIZE) != record(number)
    print("bad", bad)


if sys.argv[1] == "write":
    write(sys.argv[2], sys.argv[3])
else:
    verify(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
