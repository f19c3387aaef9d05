"""Samples in the shapes in which formats were published: written for these tests, from the sources that each names.

A row is what a line means: (time, op, path, offset, size, duration). None stands for what the format does not tell.
"""

from __future__ import annotations

import json
from typing import NamedTuple

Row = tuple[float, str, str | None, int | None, int, float | None]


class Published(NamedTuple):
    """A sample: where its format was published, what it holds, and what that means."""

    source: str
    content: str
    rows: list[Row]


_KIB = 1024

AZURE = Published(
    "MicrosoftDocs/mslearn, monitor storage lab: lines of $logs of the blob service; the fields are those of "
    "learn.microsoft.com/rest/api/storageservices/storage-analytics-log-format",
    "2.0;2019-06-25T14:56:54.0000000Z;PutBlob;Success;201;27;25;authenticated;acme;acme;blob;"
    '"https://acme.blob.core.windows.net:443/photos/a&amp;b.dat";"/acme/photos/a&amp;b.dat";'
    "c6759302-f01e-0016-3066-2b5b8a000000;0;192.0.2.176:7040;2018-03-28;432;1999980;249;0;1999980;"
    '"yRI+gcpHB+XCS/JTxrZc9Q==";"yRI+gcpHB+XCS/JTxrZc9Q==";"&quot;0x8D6F97D5CA88E64&quot;";'
    'Tuesday, 25-Jun-19 14:56:54 GMT;;"Azure-Storage/9.3.2 (.NET Core)";;"d76a96e0-9f66-4476-b5e0-b8979b69ea85";;;;;;;;\n'
    "1.0;2019-06-25T14:58:50.4195457Z;GetBlob;Success;200;37;6;authenticated;acme;acme;blob;"
    '"https://acme.blob.core.windows.net:443/photos/c.dat";"/acme/photos/c.dat";'
    "c676d992-f01e-0016-0766-2b5b8a000000;0;192.0.2.176:7040;2018-03-28;354;0;421;1999980;0;;;"
    '"&quot;0x8D6F97D9CC90D46&quot;";Tuesday, 25-Jun-19 14:58:41 GMT;;"Azure-Storage/9.3.2; (.NET Core)";;'
    '"c1ca8eaf-abd3-4209-91f4-6ad28987f492"\n'
    "1.0;2019-06-25T14:58:52.5000000Z;GetBlob;SASSuccess;206;59;22;sas;;acme;blob;"
    '"https://acme.blob.core.windows.net/photos/c.dat?sv=2018-03-28";"/acme/photos/c.dat";'
    "c676d9ae-f01e-0016-2166-2b5b8a000000;0;192.0.2.176:7040;2018-03-28;354;0;421;65536;0;;;"
    '"&quot;0x8D6F97D9CC90D46&quot;";;;"curl/7";;"1"\n'
    "1.0;2019-06-25T14:58:53.0000000Z;GetBlob;ClientOtherError;404;59;22;authenticated;acme;acme;blob;"
    '"https://acme.blob.core.windows.net/photos/d.dat";"/acme/photos/d.dat";'
    "c676d9af-f01e-0016-2166-2b5b8a000000;0;192.0.2.176:7040;2018-03-28;354;0;150;215;0;;;;;;;;\n"
    "1.0;2019-06-25T14:58:54.0000000Z;ListBlobs;Success;200;9;9;authenticated;acme;acme;blob;"
    '"https://acme.blob.core.windows.net/photos?comp=list";"/acme/photos";'
    "c676d9b0-f01e-0016-2166-2b5b8a000000;0;192.0.2.176:7040;2018-03-28;354;0;150;5215;0;;;;;;;;\n",
    [
        (1561474614.0, "write", "azure://acme/photos/a&b.dat", 0, 1999980, 0.027),
        (1561474730.419545, "read", "azure://acme/photos/c.dat", 0, 1999980, 0.037),
        (1561474732.5, "read", "azure://acme/photos/c.dat", None, 65536, 0.059),
    ],
)


def _resource(operation: str, second: int, category: str = "StorageRead", status: object = 200, **told: object) -> str:
    return json.dumps(
        {
            "time": f"2019-02-28T19:10:{second}.2123117Z",
            "resourceId": "/subscriptions/1/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/acme/"
            "blobServices/default",
            "category": category,
            "operationName": operation,
            "operationVersion": "2017-04-17",
            "schemaVersion": "1.0",
            "statusCode": status,
            "statusText": "Success",
            "durationMs": 5,
            "callerIpAddress": "192.0.2.1:11111",
            "correlationId": "ad881411-201e-004e-1c99-cfd67d000000",
            "location": "uswestcentral",
            "properties": {"accountName": "acme", "serviceType": "blob", "operationCount": 0, **told},
            "uri": "https://acme.blob.core.windows.net:443/photos/a%20b.jpg?sv=2017-04-17&sig=XXXXX",
            "protocol": "HTTPS",
            "resourceType": "Microsoft.Storage/storageAccounts/blobServices",
        }
    )


AZURE_RESOURCE = Published(
    "learn.microsoft.com, azure/storage/blobs/monitor-blob-storage-reference (the fields of resource logs, and a record)",
    "\n".join(
        (
            _resource("PutBlob", 21, "StorageWrite", 201, requestBodySize=0, contentLengthHeader="11552"),
            _resource("GetBlob", 22, responseBodySize=11552, responseHeaderSize=300),
            _resource("GetBlob", 23, status="206", responseBodySize="500", objectKey='"/acme/photos/c.dat"'),
            _resource("GetBlob", 24, status=404, responseBodySize=215),
            _resource("ListBlobs", 25, responseBodySize=5215),
            _resource("PutBlock", 26, "StorageWrite", 201, requestBodySize=4096),
            _resource("PutBlockList", 27, "StorageWrite", 201, requestBodySize=200),
            _resource("DeleteBlob", 28, "StorageDelete", 202),
            "",
        )
    ),
    [
        (1551381021.212311, "write", "azure://acme/photos/a b.jpg", 0, 11552, 0.005),
        (1551381022.212311, "read", "azure://acme/photos/a b.jpg", 0, 11552, 0.005),
        (1551381023.212311, "read", "azure://acme/photos/c.dat", None, 500, 0.005),
        (1551381026.212311, "write", "azure://acme/photos/a b.jpg", None, 4096, 0.005),
        (1551381027.212311, "rename", "azure://acme/photos/a b.jpg", None, 0, 0.005),
        (1551381028.212311, "unlink", "azure://acme/photos/a b.jpg", None, 0, 0.005),
    ],
)

GCS = Published(
    "cloud.google.com/storage/docs/access-logs (the fields); kanjiapi.dev's test of its own logs, and "
    "salrashid123/gcs_csek (lines)",
    '"time_micros","c_ip","c_ip_type","c_ip_region","cs_method","cs_uri","sc_status","cs_bytes","sc_bytes",'
    '"time_taken_micros","cs_host","cs_referer","cs_user_agent","s_request_id","cs_operation","cs_bucket","cs_object"\n'
    '"1693206014000000","192.0.2.38","1","","GET","/v1/img/%E9%9B%86","200","0","277","488000","kanji.example",'
    '"http://127.0.0.1:59961/","Mozilla/5.0 (KHTML, like Gecko) Chrome/102","ADPycduv","GET_Object","kanji.example",'
    '"v1/img/集"\n'
    '"1693206014500000","192.0.2.38","1","","GET","/v1/img/x","404","0","0","164000","kanji.example","","curl","ADP1",'
    '"GET_Object","kanji.example","v1/img/x"\n'
    '"1693206015000000","192.0.2.39","1","","PUT","/enc.txt?Expires=1532326249","200","11","0","260000",'
    '"storage.googleapis.com","","Java/1.8.0_171,gzip(gfe)","AEnB2Ur","PUT_Object","minutia","enc.txt"\n'
    '"1693206016000000","192.0.2.39","1","","GET","/big.bin","206","0","8192","1000","h","","gsutil","A2","GET_Object",'
    '"minutia","big.bin"\n'
    '"1693206017000000","192.0.2.39","1","","GET","/?prefix=v1","200","0","655","1000","h","","gsutil","A3",'
    '"LIST_Objects","minutia",""\n'
    '"1693206018000000","192.0.2.39","1","","GET","/storage/v1/b/minutia/o/enc.txt?alt=json","200","0","900","1000","h",'
    '"","gsutil","A4","storage.objects.get","minutia","enc.txt"\n',
    [
        (1693206014.0, "read", "gs://kanji.example/v1/img/集", 0, 277, 0.488),
        (1693206015.0, "write", "gs://minutia/enc.txt", 0, 11, 0.26),
        (1693206016.0, "read", "gs://minutia/big.bin", None, 8192, 0.001),
        (1693206018.0, "stat", "gs://minutia/enc.txt", None, 0, 0.001),
    ],
)


def _audited(name: str, key: str, second: int, *, status: int = 200, rx: int = 0, tx: int = 0, **headers: str) -> str:
    given = {name.replace("_", "-"): value for name, value in headers.items() if name.startswith("Content_")}
    asked = {name: value for name, value in headers.items() if name == "Range"}
    return json.dumps(
        {
            "version": "1",
            "deploymentid": "8ca2b7ad-20cf-4d07-9efb-28b2f519f4a5",
            "time": f"2024-02-29T19:39:{second}.744431903Z",
            "event": "",
            "trigger": "incoming",
            "api": {
                "name": name,
                "bucket": "data",
                "object": key,
                "status": "OK",
                "statusCode": status,
                "rx": rx,
                "tx": tx,
                "txHeaders": 387,
                "timeToFirstByte": "2096989ns",
                "timeToFirstByteInNS": "2096989",
                "timeToResponse": "2111986ns",
                "timeToResponseInNS": "2111986",
            },
            "remotehost": "127.0.0.1",
            "requestID": "17B86CB0ED88EBE9",
            "userAgent": "MinIO (linux; amd64) minio-go/v7.0.67",
            "requestPath": f"/data/{key}",
            "requestHost": "minio.example.net:9000",
            "requestHeader": {"Accept-Encoding": "zstd,gzip", **asked},
            "responseHeader": {"Accept-Ranges": "bytes", "Server": "MinIO", **given},
        }
    )


MINIO_AUDIT = Published(
    "minio/docs, operations/monitoring/minio-logging (an entry); minio/minio, docs/logging/README.md (one of 2019)",
    "\n".join(
        (
            _audited("PutObject", "hello.txt", 25, rx=12),
            _audited("GetObject", "hello.txt", 26, tx=12),
            _audited(
                "GetObject",
                "big.bin",
                27,
                status=206,
                tx=500,
                Range="bytes=1000-1499",
                Content_Range="bytes 1000-1499/9000",
            ),
            _audited("PutObjectPart", "big.bin", 28, rx=5000),
            _audited("CompleteMultipartUpload", "big.bin", 29, rx=267, tx=358),
            _audited("GetObject", "gone.bin", 30, status=404, tx=358),
            json.dumps(
                {
                    "version": "1",
                    "deploymentid": "bc0e4d1e-bacc-42eb-91ad-2d7f3eacfa8d",
                    "time": "2024-02-29T19:39:31.187817748Z",
                    "api": {
                        "name": "PutObject",
                        "bucket": "testbucket",
                        "object": "hosts",
                        "status": "OK",
                        "statusCode": 200,
                        "timeToFirstByte": "366333ns",
                        "timeToResponse": "16438202ns",
                    },
                    "remotehost": "127.0.0.1",
                    "requestHeader": {"Content-Length": "686", "X-Amz-Decoded-Content-Length": "512"},
                    "responseHeader": {"Content-Length": "0"},
                }
            ),
            "",
        )
    ),
    [
        (1709235565.744432, "write", "s3://data/hello.txt", 0, 12, 0.002111986),
        (1709235566.744432, "read", "s3://data/hello.txt", 0, 12, 0.002111986),
        (1709235567.744432, "read", "s3://data/big.bin", 1000, 500, 0.002111986),
        (1709235568.744432, "write", "s3://data/big.bin", None, 5000, 0.002111986),
        (1709235569.744432, "rename", "s3://data/big.bin", None, 0, 0.002111986),
        (1709235571.187818, "write", "s3://testbucket/hosts", 0, 512, 0.016438202),
    ],
)

MINIO_TEXT = Published(
    "minio/mc, cmd/admin-trace.go (the print); minio/minio, docs on Veeam, and transcripts of RELEASE.2025 (lines)",
    "mc-1     | 2026-07-01T22:41:40.500 [200 OK] s3.PutObject 127.0.0.1:9000/first/hello world.txt 127.0.0.1        "
    "24.143ms     ⇣  24.102398ms  ↑ 123 B ↓ 0 B\n"
    "2026-07-01T22:41:41.000 [STORAGE] storage.ReadVersion 127.0.0.1:9020 /tmp/ec/d2 first hello.txt 99.307µs\n"
    "2026-07-01T22:41:44.136 [200 OK] s3.ListObjectsV2 127.0.0.1:9000/first?list-type=2  127.0.0.1        870µs       "
    "⇣  849.178µs  ↑ 84 B ↓ 652 B\n"
    "2026-07-01T22:41:45.000 [200 OK] s3.GetObject 127.0.0.1:9000/first/a.bin?x-id=GetObject  127.0.0.1        760µs"
    "       ⇣  715.972µs  ↑ 84 B ↓ 8.5 KiB\n"
    "2026-07-01T22:41:46.000 [206 Partial Content] s3.GetObject minio01:9000/first/a.bin 139.178.68.158    1m2.5s "
    "     ↑ 90 B ↓ 1.0 MiB\n"
    "2026-07-01T22:41:47.000 [403 Forbidden] s3.GetObject 127.0.0.1:9000/first/no 127.0.0.1        154µs       "
    "⇣  120µs  ↑ 82 B ↓ 300 B\n",
    [
        (1782945700.5, "write", "s3://first/hello world.txt", 0, 123, 0.024143),
        (1782945705.0, "read", "s3://first/a.bin", 0, 8704, 0.00076),
        (1782945706.0, "read", "s3://first/a.bin", None, 1 << 20, 62.5),
    ],
)

MINIO_VERBOSE = Published(
    "minio/mc, cmd/admin-trace.go (traceMessage.String) and its pull request 4949 (a line of another call)",
    """\
127.0.0.1:9001 [REQUEST s3.GetObject] [2024-06-03T14:14:51.680] [Client IP: 192.0.2.1]
127.0.0.1:9001 GET /photos/a b.jpg?x-id=GetObject
127.0.0.1:9001 Proto: HTTP/1.1
127.0.0.1:9001 Host: 127.0.0.1:9001
127.0.0.1:9001 Range: bytes=4096-8191
127.0.0.1:9001 <BLOB>
127.0.0.1:9001 [RESPONSE] [2024-06-03T14:14:51.682] [ Duration 1.5ms TTFB 1.2ms ↑ 90 B  ↓ 4.3 KiB ]
127.0.0.1:9001 206 Partial Content
127.0.0.1:9001 Content-Length: 4096
127.0.0.1:9001 Content-Range: bytes 4096-8191/262144
127.0.0.1:9001 Server: MinIO
127.0.0.1:9001
127.0.0.1:9001
127.0.0.1:9001  [STORAGE storage.ReadXL] [2024-06-03T14:14:51.690] /data/d3 warp a.rnd total-errs-timeout=0 0s 1003 B
127.0.0.1:9001 [REQUEST s3.PutObject] [2024-06-03T14:14:52.000] [Client IP: 192.0.2.1]
127.0.0.1:9001 PUT /photos/new.jpg
127.0.0.1:9001 Proto: HTTP/1.1
127.0.0.1:9001 Host: 127.0.0.1:9001
127.0.0.1:9001 Content-Length: 12345
127.0.0.1:9001 <BLOB>
127.0.0.1:9001 [RESPONSE] [2024-06-03T14:14:52.010] [ Duration 10ms TTFB 9.8ms ↑ 12 KiB  ↓ 0 B ]
127.0.0.1:9001 200 OK
127.0.0.1:9001
127.0.0.1:9001
127.0.0.1:9001 [REQUEST s3.GetObject] [2024-06-03T14:14:53.000] [Client IP: 192.0.2.1]
127.0.0.1:9001 GET /photos/gone.jpg
127.0.0.1:9001 Proto: HTTP/1.1
127.0.0.1:9001 Host: 127.0.0.1:9001
127.0.0.1:9001
127.0.0.1:9001 [RESPONSE] [2024-06-03T14:14:53.010] [ Duration 1ms TTFB 900µs ↑ 90 B  ↓ 300 B ]
127.0.0.1:9001 404 Not Found
127.0.0.1:9001
127.0.0.1:9001
""",
    [
        (1717424091.68, "read", "s3://photos/a b.jpg", 4096, 4096, 0.0015),
        (1717424092.0, "write", "s3://photos/new.jpg", 0, 12345, 0.01),
    ],
)

MINIO_JSON = Published(
    "joyent/minio-statemap's announcement (a document of `mc admin trace -a --json`); mc's cmd/admin-trace.go",
    """\
{
 "host": "localhost:9000",
 "time": "2020-06-02T16:12:29.745192997Z",
 "client": "192.0.2.1",
 "callStats": {
  "rx": 262234,
  "tx": 263,
  "duration": 39692427,
  "timeToFirstByte": 0
 },
 "api": "s3.PutObject",
 "path": "/chum/v2/ae8ae9bf",
 "query": "",
 "statusCode": 200,
 "statusMsg": "OK"
}
{
 "host": "localhost:9000",
 "time": "2020-06-02T16:12:30Z",
 "client": "192.0.2.1",
 "callStats": {
  "rx": 90,
  "tx": 9999,
  "duration": 1000000,
  "timeToFirstByte": 0
 },
 "api": "internal.ReadFile",
 "path": "/minio/storage/data",
 "query": "",
 "statusCode": 200,
 "statusMsg": "OK"
}
{
 "type": "s3",
 "host": "localhost:9000",
 "api": "s3.GetObject",
 "time": "2020-06-02T16:12:31Z",
 "duration": 2000000,
 "path": "/chum/v2/ae8ae9bf",
 "request": {
  "method": "GET",
  "headers": {
   "Range": "bytes=4096-8191"
  }
 },
 "response": {
  "headers": {
   "Content-Length": "4096",
   "Content-Range": "bytes 4096-8191/262144"
  },
  "statusCode": 206
 },
 "callStats": {
  "rx": 100,
  "tx": 4300,
  "duration": 2000000,
  "timeToFirstByte": 0
 }
}
""",
    [
        (1591114349.745193, "write", "s3://chum/v2/ae8ae9bf", 0, 262234, 0.039692427),
        (1591114351.0, "read", "s3://chum/v2/ae8ae9bf", 4096, 4096, 0.002),
    ],
)


def _record(name: str, second: int, key: str = "sitemap.xml", received: int = 0, sent: int = 0, **asked: str) -> str:
    return json.dumps(
        {
            "additionalEventData": {
                "bytesTransferredIn": received,
                "bytesTransferredOut": sent,
                "x-amz-id-2": "Plk5qxp4LoJpRJEteWviQ6J7sEr",
            },
            "awsRegion": "us-east-1",
            "eventCategory": "Data",
            "eventName": name,
            "eventSource": "s3.amazonaws.com",
            "eventTime": f"2025-02-10T05:04:{second}Z",
            "eventType": "AwsApiCall",
            "eventVersion": "1.11",
            "managementEvent": False,
            "readOnly": name == "GetObject",
            "requestParameters": {
                "Host": "photos.s3.us-east-1.amazonaws.com",
                "bucketName": "photos",
                "key": key,
                **asked,
            },
            "responseElements": None,
            "sourceIPAddress": "192.0.2.7",
        }
    )


CLOUDTRAIL_LINES = Published(
    "docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-s3-info.html (the fields); a gist of "
    "aidansteele's, 31d6055de2ec98e31807fdf96511b4c6 (a data event); one a line, as jq -c '.Records[]' gives them",
    "\n".join(
        (
            _record("GetObject", 32, sent=339117),
            _record("GetObject", 33, sent=100, Range="bytes=4096-4195"),
            _record("PutObject", 34, "model.pt", received=1000),
            _record("UploadPart", 35, "model.pt", received=5000),
            _record("ListObjects", 36),
            "",
        )
    ),
    [
        (1739163872.0, "read", "s3://photos/sitemap.xml", None, 339117, None),
        (1739163873.0, "read", "s3://photos/sitemap.xml", 4096, 100, None),
        (1739163874.0, "write", "s3://photos/model.pt", 0, 1000, None),
        (1739163875.0, "write", "s3://photos/model.pt", None, 5000, None),
    ],
)

BIOSNOOP = Published(
    "iovisor/bcc, tools/biosnoop_example.txt (with and without -Q), libbpf-tools/biosnoop.c",
    "TIME(s)     COMM           PID    DISK    T SECTOR     BYTES   LAT(ms)\n"
    "0.000004    supervise      1950   xvda1   W 13092560   4096       0.74\n"
    "1.000000    rs:main Q:Reg  1826   nvme0n1 R 13092432   8192    1000.00\n"
    "2.000000    kworker/u72:1  13379  nvme1n1 W 1142400    3072      0.01    0.50\n"
    "2.500000    python         77     sdb     RA   2048       65536     0.500\n"
    "2.600000    fstrim         78     sdb     D    0          1048576   0.500\n"
    "2.700000    jbd2/sda1-8    79     sdb     FWS  64         4096      0.700\n",
    [
        (-0.000736, "write", "device xvda1", 13092560 * 512, 4096, 0.00074),
        (0.0, "read", "device nvme0n1", 13092432 * 512, 8192, 1.0),
        (1.9995, "write", "device nvme1n1", 1142400 * 512, 3072, 0.0005),
        (2.4995, "read", "device sdb", 2048 * 512, 65536, 0.0005),
        (2.6993, "write", "device sdb", 64 * 512, 4096, 0.0007),
    ],
)

EXT4SLOWER = Published(
    "iovisor/bcc, tools/ext4slower_example.txt: `ext4slower 0`",
    "Tracing ext4 operations\n"
    "TIME     COMM           PID    T BYTES   OFF_KB   LAT(ms) FILENAME\n"
    "23:59:59 supervise      1884   O 0       0           0.00 status.new\n"
    "23:59:59 supervise      1884   W 18      0           0.02 status.new\n"
    "23:59:59 rs:main Q:Reg  15817  R 128     0           0.25 my data.bin\n"
    "00:00:00 rs:main Q:Reg  15817  R 504     0           0.00 my data.bin\n"
    "00:00:00 rs:main Q:Reg  15817  R 65536   0           0.00 my data.bin\n"
    "00:00:01 rs:main Q:Reg  15817  R 65536   384         1.69 my data.bin\n"
    "00:00:01 dconf-service  2599   S 0       0          22.75 user.BHDKOY\n",
    [
        (86399.0, "open", "status.new", None, 0, 0.0),
        (86399.0, "write", "status.new", 0, 18, 0.00002),
        (86399.0, "read", "my data.bin", 0, 128, 0.00025),
        (86400.0, "read", "my data.bin", 128, 504, 0.0),
        (86400.0, "read", "my data.bin", 632, 65536, 0.0),
        (86401.0, "read", "my data.bin", 384 * _KIB, 65536, 0.00169),
        (86401.0, "sync", "user.BHDKOY", None, 0, 0.02275),
    ],
)

XFSSLOWER_CSV = Published(
    "iovisor/bcc, tools/xfsslower_example.txt: `xfsslower -j 1`",
    "ENDTIME_us,TASK,PID,TYPE,BYTES,OFFSET_b,LATENCY_us,FILE\n"
    "125563830632,randread.pl,12155,R,8192,27824193536,1057,data1\n"
    "125565050578,randread.pl,12155,W,8192,16908525568,1969,data1,old\n",
    [
        (125563.829575, "read", "data1", 27824193536, 8192, 0.001057),
        (125565.048609, "write", "data1,old", 16908525568, 8192, 0.001969),
    ],
)

NFSSLOWER = Published(
    "iovisor/bcc, tools/nfsslower_example.txt: `nfsslower 10`, whose lines also come without a header",
    "Tracing NFS operations that are slower than 10 ms\n"
    "11:25:16 dd             21295  W 1048576 15360      14.84 1.test\n"
    "11:25:16 cp             21854  G 0       0          10.35 1.test\n"
    "11:25:17 cp             21854  R 131072  128        12.02 1.test\n",
    [
        (41116.0, "write", "1.test", 15360 * _KIB, 1048576, 0.01484),
        (41116.0, "stat", "1.test", None, 0, 0.01035),
        (41117.0, "read", "1.test", 128 * _KIB, 131072, 0.01202),
    ],
)

FILESLOWER = Published(
    "brendangregg/bpf-perf-tools-book, originals/Ch08_FileSystems/fileslower.bt (bpftrace)",
    "TIMEms   COMM             PID    T BYTES     LATms FILE\n"
    "5521     cksum            4179   R 65536        12 a2p\n"
    "5580     cksum            4179   W 4096          3 out.log\n",
    [
        (5.509, "read", "a2p", None, 65536, 0.012),
        (5.577, "write", "out.log", None, 4096, 0.003),
    ],
)

PERF = Published(
    "tools/perf/Documentation/perf-trace.txt and lore.kernel.org/bpf (prints of Arnaldo Carvalho de Melo's, with the "
    "names of opened files); Ivan Babrou's 'perf trace' with lost events",
    "         ? (         ): cat/9079  ... [continued]: execve())                                           = 0\n"
    '     0.018 ( 0.010 ms): cat/9079 openat(dfd: CWD, filename: "/data/passwd", flags: RDONLY|CLOEXEC) = 3\n'
    "     0.231 ( 0.004 ms): cat/9079 read(fd: 3, buf: 0x7f7c6a4c4000, count: 131072)                 = 3224\n"
    "     0.236 ( 0.001 ms): cat/9079 write(fd: 1, buf: root:x:0:0:Super, count: 3224)                = 3224\n"
    "     0.300 (         ): cat/9079 pread64(fd: 3</data/passwd>, buf: 0x7f7c6a4c4000, count: 784, pos: 64) ...\n"
    "     0.301 ( 0.002 ms): sh/77 lseek(fd: 9, offset: 0, whence: CUR)  = -1 ESPIPE (Illegal seek)\n"
    "     0.300 ( 0.050 ms): cat/9079  ... [continued]: pread64())                                     = 784\n"
    "LOST 23 events!\n"
    "     0.419 ( 0.009 ms): cat/9079 close(fd: 3</data/passwd>)                                       = 0\n",
    [
        (0.000018, "open", "/data/passwd", None, 0, 0.00001),
        (0.000231, "read", "/data/passwd", 0, 3224, 0.000004),
        (0.000236, "write", "<stdout>", None, 3224, 0.000001),
        (0.0003, "read", "/data/passwd", 64, 784, 0.00005),
        (0.000419, "close", "/data/passwd", None, 0, 0.000009),
    ],
)

PROCMON = Published(
    "yampelo/beagle, its guide to Process Monitor's CSV (lines); the header is Process Monitor's default",
    '\ufeff"Time of Day","Process Name","PID","Operation","Path","Result","Detail","TID"\r\n'
    '"11:59:59.0000000 AM","python.exe","2900","CreateFile","C:\\data\\a, b.bin","SUCCESS",'
    '"Desired Access: Generic Read, Disposition: Open, Options: Sequential Access","3408"\r\n'
    '"11:59:59.5000000 AM","python.exe","2900","ReadFile","C:\\data\\a, b.bin","SUCCESS",'
    '"Offset: 2,275,840, Length: 16,384, Priority: Normal","3408"\r\n'
    '"11:59:59.6000000 AM","System","4","ReadFile","C:\\data\\a, b.bin","SUCCESS",'
    '"Offset: 2,255,360, Length: 65,536, I/O Flags: Non-cached, Paging I/O, Synchronous Paging I/O","12"\r\n'
    '"12:00:00.0000000 PM","python.exe","2900","ReadFile","C:\\data\\a, b.bin","END OF FILE",'
    '"Offset: 2,292,224, Length: 16,384","3408"\r\n'
    '"12:00:00.2500000 PM","python.exe","2900","RegQueryValue","HKLM\\Software","SUCCESS","Type: REG_SZ","3408"\r\n'
    '"12:00:00.5000000 PM","python.exe","2900","WriteFile","C:\\data\\log.txt","SUCCESS","Offset: 0, Length: 9","3408"\r\n'
    '"12:00:01.0000000 PM","python.exe","2900","CloseFile","C:\\data\\a, b.bin","SUCCESS","","3408"\r\n',
    [
        (43199.0, "open", "C:\\data\\a, b.bin", None, 0, None),
        (43199.5, "read", "C:\\data\\a, b.bin", 2275840, 16384, None),
        (43200.5, "write", "C:\\data\\log.txt", 0, 9, None),
        (43201.0, "close", "C:\\data\\a, b.bin", None, 0, None),
    ],
)

#: Format, and its samples; the first is the one that stands for the format in tests of all of them.
PUBLISHED: dict[str, list[Published]] = {
    "azure-log": [AZURE],
    "azure-resource-log": [AZURE_RESOURCE],
    "gcs-log": [GCS],
    "minio-audit": [MINIO_AUDIT],
    "minio-trace": [MINIO_TEXT, MINIO_JSON, MINIO_VERBOSE],
    "cloudtrail": [CLOUDTRAIL_LINES],
    "biosnoop": [BIOSNOOP],
    "fsslower": [EXT4SLOWER, XFSSLOWER_CSV, NFSSLOWER, FILESLOWER],
    "perf": [PERF],
    "procmon": [PROCMON],
}
