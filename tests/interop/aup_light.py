"""A light switch served by async_upnp_client: SwitchPower:1 with one evented variable. Usage: aup_light.py ADDRESS PORT"""

import asyncio
import sys
import xml.etree.ElementTree as ET

from async_upnp_client.client import UpnpStateVariable
from async_upnp_client.const import DeviceInfo, ServiceInfo
from async_upnp_client.server import (
    UpnpServer,
    UpnpServerDevice,
    UpnpServerService,
    callable_action,
    create_event_var,
    create_state_var,
)


class SwitchPower(UpnpServerService):
    SERVICE_DEFINITION = ServiceInfo(
        service_id="urn:upnp-org:serviceId:SwitchPower",
        service_type="urn:schemas-upnp-org:service:SwitchPower:1",
        control_url="/control",
        event_sub_url="/event",
        scpd_url="/scpd.xml",
        xml=ET.Element("server_service"),
    )
    STATE_VARIABLE_DEFINITIONS = {
        "Target": create_state_var("boolean", default="0"),
        "Status": create_event_var("boolean", default="0"),
    }

    @callable_action(name="SetTarget", in_args={"newTargetValue": "Target"}, out_args={})
    async def set_target(self, newTargetValue: bool) -> dict[str, UpnpStateVariable]:
        self.state_variable("Target").value = newTargetValue
        self.state_variable("Status").value = newTargetValue
        return {}

    @callable_action(name="GetStatus", in_args={}, out_args={"ResultStatus": "Status"})
    async def get_status(self) -> dict[str, UpnpStateVariable]:
        return {"ResultStatus": self.state_variable("Status")}


class Light(UpnpServerDevice):
    DEVICE_DEFINITION = DeviceInfo(
        device_type="urn:schemas-upnp-org:device:BinaryLight:1",
        friendly_name="Foreign light",
        manufacturer="async_upnp_client",
        manufacturer_url=None,
        model_description=None,
        model_name="light",
        model_number=None,
        model_url=None,
        serial_number=None,
        udn="uuid:6f5c1b1e-6f7e-4ad9-a1a7-1d3a6c1f0a11",
        upc=None,
        presentation_url=None,
        url="/device.xml",
        icons=[],
        xml=ET.Element("server_device"),
    )
    EMBEDDED_DEVICES: list = []
    SERVICES = [SwitchPower]


async def main() -> None:
    server = UpnpServer(Light, (sys.argv[1], 0), http_port=int(sys.argv[2]))
    await server.async_start()
    print("serving", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
