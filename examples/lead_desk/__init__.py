"""The lead desk of a Danish cleaning company: sales leads become analyses, e-mail drafts and task plans, as files.

An ordinary client of a gateway that speaks the OpenAI API. Nothing is ever sent to a customer: drafts are files for a
person to read, and no module here can send an e-mail or open a connection to anything but the gateway.
"""
